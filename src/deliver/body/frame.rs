//! Bodies of many messages: what each of them would be alone, put together as JSON.

use super::{Format, envelope, json};
use crate::{
    base::clock::Time,
    config::{self, BatchFormat},
    deliver::fault::Fault,
    message::{Message, batch::Batch, outcome::Failure},
    template::AroundText,
};

/// How the messages of a batch stand together.
#[derive(Debug)]
pub(in crate::deliver) enum Frame {
    Array,
    Lines,
    Events,
    Around(Box<AroundText>),
}

/// What a message takes beside its payload, in bytes, about.
const AROUND: usize = 192;

impl Frame {
    /// That of a route with these settings; none where each message has a request of its own.
    pub(in crate::deliver) fn of(batch: &config::Batch) -> Option<Self> {
        batch.is_on().then(|| Self::from(&batch.format))
    }

    /// What a body is.
    pub(in crate::deliver) const fn content_type(&self) -> &'static [u8] {
        match self {
            Self::Array | Self::Around(_) => b"application/json",
            Self::Lines => b"application/x-ndjson",
            Self::Events => b"application/cloudevents-batch+json",
        }
    }

    /// The body of `batch`, at an attempt that begins at `began`. Each message is what `format` makes of it.
    ///
    /// # Errors
    /// Nothing can be made of one of the messages, and nothing ever will.
    pub(in crate::deliver) fn make(
        &self,
        format: Option<&Format>,
        batch: &Batch,
        began: Time,
    ) -> Result<Vec<u8>, Fault> {
        let payloads: usize = batch.iter().map(|message| message.payload.len()).sum();
        let around = if format.is_some() { AROUND * batch.count() } else { batch.count() };
        let mut body = Vec::with_capacity(payloads + around + 2);
        if matches!(self, Self::Lines) {
            for message in batch.iter() {
                let start = body.len();
                append(&mut body, format, message, began)?;
                body.get_mut(start..).into_iter().for_each(to_one_line);
                body.push(b'\n');
            }
            return Ok(body);
        }
        for message in batch.iter() {
            body.push(if body.is_empty() { b'[' } else { b',' });
            append(&mut body, format, message, began)?;
        }
        body.push(b']');
        match self {
            Self::Around(around) => wrap(around, &body, batch.count()),
            _ => Ok(body),
        }
    }
}

impl From<&BatchFormat> for Frame {
    fn from(format: &BatchFormat) -> Self {
        match format {
            BatchFormat::Json => Self::Array,
            BatchFormat::NdJson => Self::Lines,
            BatchFormat::CloudEvents => Self::Events,
            BatchFormat::Template(around) => Self::Around(Box::new(around.compile())),
        }
    }
}

/// What the operator's template makes of an array of `count` messages.
fn wrap(around: &AroundText, array: &[u8], count: usize) -> Result<Vec<u8>, Fault> {
    let made = str::from_utf8(array).map_err(|error| error.to_string());
    let made = made.and_then(|array| around.render(array, count));
    made.map(String::into_bytes)
        .map_err(|why| Fault::new(Failure::Unsendable, format_args!("no body by batch.template: {why}")))
}

/// Appends what is made of `message`, which is JSON.
fn append(body: &mut Vec<u8>, format: Option<&Format>, message: &Message, began: Time) -> Result<(), Fault> {
    match format {
        None => payload(body, &message.payload),
        Some(Format::Envelope) => envelope::append(body, message, began),
        Some(Format::Template(template)) => body.extend_from_slice(&template.make(message, began)?),
        Some(Format::CloudEvents(maker)) => maker.append(body, message, began)?,
    }
    Ok(())
}

/// Appends a payload: one that is JSON as it is, and any other one as an envelope has it.
fn payload(body: &mut Vec<u8>, payload: &[u8]) {
    match json::json(payload) {
        Some(json) => body.extend_from_slice(json.as_bytes()),
        None => {
            body.extend_from_slice(b"{\"data_base64\":");
            json::put_base64(body, payload);
            body.push(b'}');
        }
    }
}

/// JSON on one line. Within a text of JSON there is no end of a line, so that all of them are blanks.
fn to_one_line(json: &mut [u8]) {
    json.iter_mut().filter(|byte| matches!(**byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Headers, Id};

    fn batch(payloads: &[&[u8]]) -> Batch {
        let message = |payload: &&[u8]| {
            let payload = payload.to_vec().into();
            Message::new(Id::given("id"), "todos".into(), Headers::default(), payload, Time::START)
        };
        Batch::of(payloads.iter().map(message).collect()).unwrap()
    }

    fn made(format: &BatchFormat, payloads: &[&[u8]]) -> String {
        let body = Frame::from(format).make(None, &batch(payloads), Time::START).unwrap();
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn payloads_stand_in_an_array_byte_for_byte() {
        let payloads = [&b"{ \"n\" : 1.0 }"[..], b"\"x\"", b"123456789012345678901234567890", b"null"];
        let expected = "[{ \"n\" : 1.0 },\"x\",123456789012345678901234567890,null]";
        assert_eq!(made(&BatchFormat::Json, &payloads), expected);
        assert_eq!(made(&BatchFormat::Json, &[b"1"]), "[1]");
    }

    #[test]
    fn what_is_no_json_can_not_leave_its_place() {
        let payloads = [&b"],["[..], b"", b"1,2", b"\xff"];
        let expected =
            r#"[{"data_base64":"XSxb"},{"data_base64":""},{"data_base64":"MSwy"},{"data_base64":"/w=="}]"#;
        assert_eq!(made(&BatchFormat::Json, &payloads), expected);
    }

    #[test]
    fn a_line_is_one_line() {
        let payloads = [&b"{\r\n \"a\": \"x\\ny\"\n}\n"[..], b"2"];
        assert_eq!(made(&BatchFormat::NdJson, &payloads), "{   \"a\": \"x\\ny\" } \n2\n");
    }

    #[test]
    fn envelopes_stand_together() {
        let body = Frame::Array.make(Some(&Format::Envelope), &batch(&[b"1", b"x"]), Time::START);
        let body: Vec<serde_json::Value> = serde_json::from_slice(&body.unwrap()).unwrap();
        assert_eq!((body.len(), &body[0]["data"], &body[1]["data_base64"]), (2, &1.into(), &"eA==".into()));
    }
}
