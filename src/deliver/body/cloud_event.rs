//! Events: a message as CloudEvents 1.0 has it, in either mode of its HTTP binding.

use std::{borrow::Cow, collections::BTreeMap, fmt::Display};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::{Made, json};
use crate::{
    base::clock::Time,
    config::{Attribute, CloudEventMode, CloudEvents},
    deliver::{
        fault::Fault,
        request::{Field, forward::EventHeaders, is_content_type},
    },
    message::{Headers, Message, header_names::http as names, outcome::Failure},
    template::Text,
};

/// The attributes of an event, but what its data are.
type Attributes = Vec<(&'static str, String)>;

/// How events are made of messages.
#[derive(Debug)]
pub(in crate::deliver) struct EventMaker {
    mode: CloudEventMode,
    attributes: Vec<(Attribute, Text)>,
}

const VERSION: &str = "1.0";
const STRUCTURED: &str = "application/cloudevents+json";

/// What is percent-encoded in the values of headers (HTTP binding, section 3.1.3.2).
const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// Whether a message with these headers is an event already, as its publisher made it (NATS binding, section 3).
fn is_event(headers: &Headers) -> bool {
    let has = |name: &str| headers.get_bytes(name).is_some_and(|value| !value.is_empty());
    is_structured(headers) || names::EVENT.iter().all(|name| has(name))
}

/// Whether all of an event, or of several, is in the payload.
fn is_structured(headers: &Headers) -> bool {
    const ANY: &[u8] = b"application/cloudevents";
    let kind = headers.get_bytes(names::CONTENT_TYPE).and_then(|kind| kind.get(..ANY.len()));
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case(ANY))
}

impl EventMaker {
    pub(super) fn new(settings: &CloudEvents) -> Self {
        let attributes = settings.attributes.iter();
        let attributes = attributes.map(|(attribute, template)| (*attribute, template.compile()));
        Self { mode: settings.mode, attributes: attributes.collect() }
    }

    /// The event for `message`, whose payload is of this type where nothing else is set, at an attempt that begins at
    /// `began`. What is an event already stays the one that it is, in the mode that it came in.
    pub(super) fn make<'b>(
        &self,
        message: &'b Message,
        payload_type: &'b [u8],
        began: Time,
    ) -> Result<Made<'b>, Fault> {
        if is_event(&message.headers) {
            return Ok(Made { events: EventHeaders::All, ..Made::payload(message, payload_type) });
        }
        let (attributes, data_type) = self.attributes(message, payload_type, began)?;
        let made = match self.mode {
            CloudEventMode::Binary => {
                let fields = attributes.iter().map(|(name, value)| field(name, value)).collect();
                Made { fields, ..Made::payload(message, payload_type) }
            }
            CloudEventMode::Structured => {
                let mut body = Vec::with_capacity(NAMES + message.payload.len());
                structured(&mut body, &attributes, &data_type, &message.payload);
                Made::body(body, STRUCTURED.as_bytes())
            }
        };
        let content_type = if self.mode == CloudEventMode::Binary { data_type } else { made.content_type };
        Ok(Made { content_type, events: EventHeaders::None, ..made })
    }

    /// Appends the event for `message` to `body`, in structured mode whatever mode it came in.
    pub(super) fn append(&self, body: &mut Vec<u8>, message: &Message, began: Time) -> Result<(), Fault> {
        let headers = &message.headers;
        let given = headers.get_bytes(names::CONTENT_TYPE).filter(|given| is_content_type(given));
        if is_structured(headers) {
            let event = json::json(&message.payload).filter(|event| event.trim_start().starts_with('{'));
            let event = event.ok_or_else(|| {
                Fault::new(Failure::Unsendable, "no CloudEvent: the publisher's is no object of JSON")
            })?;
            body.extend_from_slice(event.as_bytes());
            return Ok(());
        }
        let payload_type = given.unwrap_or(b"application/json");
        if is_event(headers) {
            let attributes: Vec<_> = of_headers(headers).into_iter().collect();
            structured(body, &attributes, payload_type, &message.payload);
            return Ok(());
        }
        let (attributes, data_type) = self.attributes(message, payload_type, began)?;
        structured(body, &attributes, &data_type, &message.payload);
        Ok(())
    }

    /// The attributes of the event for `message`, and what its data are.
    fn attributes<'b>(
        &self,
        message: &Message,
        payload_type: &'b [u8],
        began: Time,
    ) -> Result<(Attributes, Cow<'b, [u8]>), Fault> {
        let mut data_type = Cow::Borrowed(payload_type);
        let mut attributes = vec![("specversion", VERSION.to_owned())];
        for (attribute, template) in &self.attributes {
            let value = template.render(message, began).map_err(|why| no_event(*attribute, why))?;
            if value.is_empty() && !attribute.is_required() {
                continue;
            }
            check(*attribute, &value).map_err(|why| no_event(*attribute, why))?;
            match attribute {
                Attribute::DataContentType => data_type = value.into_bytes().into(),
                _ => attributes.push((attribute.name(), value)),
            }
        }
        Ok((attributes, data_type))
    }
}

/// An attribute as a header (HTTP binding, section 3.1.3).
fn field(name: &str, value: &str) -> Field<'static> {
    let value = utf8_percent_encode(value, UNSAFE).to_string();
    (format!("{}{name}", names::EVENT_PREFIX).into(), value.into_bytes().into())
}

/// The attributes of an event that came in binary mode. Names of attributes have letters and digits only.
fn of_headers(headers: &Headers) -> BTreeMap<String, String> {
    const OF_DATA: [&str; 3] = ["data", "data_base64", "datacontenttype"];
    let mut attributes = BTreeMap::new();
    for (name, value) in headers.iter() {
        let name = name.to_ascii_lowercase();
        let Some(attribute) = name.strip_prefix(names::EVENT_PREFIX) else { continue };
        let is_name = !attribute.is_empty() && attribute.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_name && !OF_DATA.contains(&attribute) {
            let value = percent_decode_str(&value).decode_utf8_lossy().into_owned();
            attributes.entry(attribute.to_owned()).or_insert(value);
        }
    }
    attributes
}

/// What the names in an event take, in bytes, about.
const NAMES: usize = 160;

/// Appends an event in structured mode.
fn structured(
    body: &mut Vec<u8>,
    attributes: &[(impl AsRef<str>, String)],
    data_type: &[u8],
    payload: &[u8],
) {
    let data_type = String::from_utf8_lossy(data_type);
    body.push(b'{');
    for (name, value) in attributes {
        member(body, name.as_ref(), value);
    }
    member(body, "datacontenttype", &data_type);
    // JSON event format, section 3.1: data of JSON stand as they are, other text is a string, and the rest is encoded.
    let text = str::from_utf8(payload).ok();
    match (is_json(&data_type), json::json(payload), text) {
        _ if payload.is_empty() => {}
        (true, Some(json), _) => {
            body.extend_from_slice(b",\"data\":");
            body.extend_from_slice(json.as_bytes());
        }
        (false, _, Some(text)) => member(body, "data", text),
        _ => {
            body.extend_from_slice(b",\"data_base64\":");
            json::put_base64(body, payload);
        }
    }
    body.push(b'}');
}

fn member(body: &mut Vec<u8>, name: &str, value: &str) {
    if body.last() != Some(&b'{') {
        body.push(b',');
    }
    json::put(body, name);
    body.push(b':');
    json::put(body, value);
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.ends_with("/json") || essence.ends_with("+json")
}

fn no_event(attribute: Attribute, why: impl Display) -> Fault {
    Fault::new(Failure::Unsendable, format_args!("no CloudEvent: its {}: {why}", attribute.name()))
}

/// Whether an attribute can have this value (CloudEvents 1.0, sections 2.1 and 3.1).
fn check(attribute: Attribute, value: &str) -> Result<(), &'static str> {
    let (is_fine, expected) = match attribute {
        Attribute::Id | Attribute::Type | Attribute::Subject => (!value.is_empty(), "it is empty"),
        Attribute::Source => (!value.is_empty() && is_of_uri(value), "it is no URI reference (RFC 3986)"),
        Attribute::DataSchema => (is_absolute(value) && is_of_uri(value), "it is no absolute URI (RFC 3986)"),
        Attribute::Time => (is_time(value), "it is no time such as 2026-01-31T12:00:00Z (RFC 3339)"),
        Attribute::DataContentType => {
            (is_content_type(value.as_bytes()) && value.contains('/'), "it is no content type (RFC 2046)")
        }
    };
    is_fine.then_some(()).ok_or(expected)
}

fn is_of_uri(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    let is_encoded =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    text.bytes().all(is_letter) && text.split('%').skip(1).all(is_encoded)
}

fn is_absolute(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(is_letter)
        && !rest.is_empty()
}

fn is_time(text: &str) -> bool {
    let is_offset = |offset: &str| {
        matches!(offset.as_bytes(), [b'+' | b'-', b'0'..=b'2', b'0'..=b'9', b':', b'0'..=b'5', b'0'..=b'9'])
    };
    let local = text.strip_suffix('Z').or_else(|| {
        let (local, offset) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
        is_offset(offset).then_some(local)
    });
    local.is_some_and(|local| humantime::parse_rfc3339(&format!("{local}Z")).is_ok())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        config::{Body, Sources, load},
        message::Id,
    };

    type Fields = Vec<(String, String)>;

    fn maker(settings: &[(&str, &str)]) -> EventMaker {
        let given = [("url", "http://a/"), ("format", "cloudevents")];
        let flags = given
            .into_iter()
            .chain(settings.iter().copied())
            .map(|(key, value)| (format!("routes.a.webhook.{key}"), value.to_owned(), "--set".to_owned()));
        let config = load(Sources { flags: flags.collect(), ..Sources::default() }).unwrap();
        let Body::CloudEvents(settings) = &config.routes[0].webhook.body else { panic!("no events") };
        EventMaker::new(settings)
    }

    fn message(payload: &[u8]) -> Message {
        let headers = Headers::new([("X-Kind", "a b\"é%")]);
        let payload = payload.to_vec().into();
        Message::new(Id::given("id-1"), "todos.créé".into(), headers, payload, Time::START)
    }

    /// Content type, body and fields of the event for a message with this payload.
    fn made(
        settings: &[(&str, &str)],
        payload_type: &str,
        payload: &[u8],
    ) -> Result<(String, Vec<u8>, Fields), String> {
        let message = message(payload);
        let maker = maker(settings);
        let made = maker.make(&message, payload_type.as_bytes(), Time::START);
        let made = made.map_err(|fault| fault.cause.unwrap().to_string())?;
        let text = |bytes: &[u8]| str::from_utf8(bytes).unwrap().to_owned();
        let fields = made.fields.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        assert_eq!(made.events, EventHeaders::None);
        Ok((text(&made.content_type), made.body.into_owned(), fields))
    }

    fn data(payload_type: &str, payload: &[u8]) -> Value {
        let (content_type, body, fields) =
            made(&[("cloudevents.mode", "structured")], payload_type, payload).unwrap();
        assert_eq!((content_type.as_str(), fields), ("application/cloudevents+json", vec![]));
        let mut event: Value = serde_json::from_slice(&body).unwrap();
        let event = event.as_object_mut().unwrap();
        assert!(humantime::parse_rfc3339(event.remove("time").unwrap().as_str().unwrap()).is_ok());
        for (name, value) in [
            ("specversion", "1.0"),
            ("id", "id-1"),
            ("source", "nats:todos.cr%C3%A9%C3%A9"),
            ("type", "todos.créé"),
            ("subject", "todos.créé"),
            ("datacontenttype", payload_type),
        ] {
            assert_eq!(event.remove(name), Some(json!(value)), "{name}");
        }
        Value::Object(event.clone())
    }

    #[test]
    fn a_structured_event_has_the_payload_in_the_way_of_its_type() {
        assert_eq!(data("application/json", b"{\"a\": [1]}"), json!({ "data": { "a": [1] } }));
        assert_eq!(data("text/x+json; charset=utf-8", b"1"), json!({ "data": 1 }));
        assert_eq!(data("application/json", b"{"), json!({ "data_base64": "ew==" }));
        assert_eq!(data("application/json", b"\"\xff\""), json!({ "data_base64": "Iv8i" }));
        assert_eq!(data("text/plain", "é\"".as_bytes()), json!({ "data": "é\"" }));
        assert_eq!(data("text/plain", b"\xff"), json!({ "data_base64": "/w==" }));
        assert_eq!(data("application/json", b""), json!({}));
    }

    #[test]
    fn a_binary_event_has_its_attributes_in_headers() {
        let settings = [
            ("cloudevents.type", "{{ headers['x-kind'] }}"),
            ("cloudevents.subject", "{{ '' }}"),
            ("cloudevents.time", "2026-01-31T12:00:00.5+01:00"),
            ("cloudevents.dataschema", "urn:x"),
            ("cloudevents.datacontenttype", "text/csv"),
        ];
        let (content_type, body, fields) = made(&settings, "text/plain", b"a;b").unwrap();
        assert_eq!((content_type.as_str(), body.as_slice()), ("text/csv", &b"a;b"[..]));
        let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let expected = [
            ("ce-specversion", "1.0"),
            ("ce-id", "id-1"),
            ("ce-source", "nats:todos.cr%25C3%25A9%25C3%25A9"),
            ("ce-type", "a%20b%22%C3%A9%25"),
            ("ce-time", "2026-01-31T12:00:00.5+01:00"),
            ("ce-dataschema", "urn:x"),
        ];
        assert_eq!(fields.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_can_be_no_attribute_makes_no_event() {
        for (key, value, why) in [
            ("id", "{{ '' }}", "its id: it is empty"),
            ("type", "{{ '' }}", "its type: it is empty"),
            ("type", "{{ headers['x-no'] }}", "its type: `headers['x-no']` is undefined"),
            ("source", "{{ headers['x-kind'] }}", "its source: it is no URI reference"),
            ("source", "%4", "its source: it is no URI reference"),
            ("dataschema", "/relative", "its dataschema: it is no absolute URI"),
            ("time", "yesterday", "its time: it is no time"),
            ("time", "2026-01-31T12:00:00", "its time: it is no time"),
            ("time", "2026-13-31T12:00:00+01:00", "its time: it is no time"),
            ("datacontenttype", "json", "its datacontenttype: it is no content type"),
        ] {
            let error = made(&[(&format!("cloudevents.{key}"), value)], "text/plain", b"").unwrap_err();
            assert!(error.starts_with("no CloudEvent: ") && error.contains(why), "{key} = {value}: {error}");
        }
    }

    #[test]
    fn an_event_of_the_publisher_is_known() {
        let whole = [("ce-specversion", "1.0"), ("CE-ID", "1"), ("ce-source", "/"), ("ce-type", "a")];
        assert!(is_event(&Headers::new(whole)));
        for left_out in whole {
            assert!(!is_event(&Headers::new(whole.into_iter().filter(|header| *header != left_out))));
        }
        assert!(is_event(&Headers::new([("content-type", "Application/CloudEvents+JSON; charset=utf-8")])));
        assert!(!is_event(&Headers::new([("content-type", "application/json")])));
    }
}
