//! What must hold of the requests that are made of any message at all: it changes no address, no header that broadcaster,
//! HTTP or the operator sets, and no line of the log. Shared by the tests and the fuzz target.
#![expect(clippy::panic, reason = "a test fails by a panic that says what was forged")]

use std::borrow::Cow;

use broadcaster::{
    base::clock::{Clock, Time},
    config::{self, Sources},
    deliver::{
        endpoint::Surroundings,
        fault::Fault,
        h1::head::HeadWriter,
        request::{Request, Template},
    },
    message::{Headers, Id, Message, batch::Batch, outcome::Failure},
};

/// Requests of one route.
struct Route {
    template: Template,
    head: HeadWriter,
    /// The headers that a request has exactly once, in lower case, and the value where it is always the same.
    once: Vec<(&'static str, Option<&'static str>)>,
    is_placed: bool,
}

const HOST: &str = "hooks.example.com:8443";
const PATH: &str = "/fixed?a=b";
const PLACED: &str =
    "/t/{{ tokens[1] | default('none') }}/x{{ subject }}?h={{ headers['x-a'] | default('') }}&d={{ text }}";

/// Names that no request has but by HTTP itself.
const NEVER: [&str; 9] = [
    "connection",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Route {
    fn new(path: &str, settings: &[(&str, &str)], once: &[(&'static str, Option<&'static str>)]) -> Self {
        let url = format!("https://{HOST}{path}");
        let common = [("url", url.as_str()), ("forward", "*,nats-*"), ("headers.x-operator", "k")];
        let flags = common
            .iter()
            .chain(settings)
            .map(|(key, value)| (format!("routes.a.webhook.{key}"), (*value).to_owned(), "--set".to_owned()));
        let config = config::load(Sources { flags: flags.collect(), ..Sources::default() });
        let route = config.expect("the settings are good").routes.remove(0);
        let template =
            Template::new(&route.webhook, &Surroundings::default().endpoint(&route, Clock::start()));
        let ours = [
            ("host", Some(HOST)),
            ("user-agent", None),
            ("content-type", None),
            ("content-length", None),
            ("webhook-id", None),
            ("broadcaster-subject", None),
            ("broadcaster-attempt", Some("1")),
            ("x-operator", Some("k")),
        ];
        let head = HeadWriter::new(&template);
        Self { head, template, once: [&ours, once].concat(), is_placed: path == PLACED }
    }

    fn all() -> Vec<Self> {
        let made = [
            ("method", "PUT"),
            ("header_templates.x-made", "made of {{ headers['x-a'] | default('') }}{{ text }}"),
        ];
        let binary = [("format", "cloudevents"), ("cloudevents.type", "{{ headers['x-a'] | default('a') }}")];
        let structured = [("format", "cloudevents"), ("cloudevents.mode", "structured")];
        vec![
            Self::new(PATH, &[], &[]),
            Self::new(PLACED, &made, &[("x-made", None)]),
            Self::new(PATH, &binary, &[("ce-specversion", None), ("ce-id", None), ("ce-type", None)]),
            Self::new(PATH, &structured, &[]),
        ]
    }

    fn check(&self, batch: &Batch, now: Time) {
        match self.template.prepare(batch, now) {
            Ok(request) => self.check_request(batch.first(), &request),
            Err(Fault { failure, cause }) => {
                assert_eq!(failure, Failure::Unsendable);
                let cause = cause.expect("it says why");
                assert!(!cause.contains(char::is_control) && cause.len() < 400, "{cause:?}");
            }
        }
    }

    fn check_request(&self, message: &Message, request: &Request<'_>) {
        let mut head = Vec::new();
        self.head.write(request, &mut head);
        let shown = String::from_utf8_lossy(&head).into_owned();
        let mut fields = [httparse::EMPTY_HEADER; 128];
        let mut parsed = httparse::Request::new(&mut fields);
        let length = parsed.parse(&head).unwrap_or_else(|error| panic!("{error}: {shown}"));
        assert_eq!(length, httparse::Status::Complete(head.len()), "the head ends elsewhere: {shown}");
        self.check_target(message, parsed.path.expect("it has a target"));
        let fields: Vec<_> = parsed.headers.iter().map(|field| (plain(field.name), field.value)).collect();
        for (name, value) in &fields {
            assert!(!NEVER.contains(&name.as_str()), "{name}: {shown}");
            let is_text = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
            assert!(is_text, "{name}: {shown}");
        }
        // An event that is one already may say of itself what it likes.
        let is_ours = |name: &str| !name.starts_with("ce-") || !is_event(&message.headers);
        for (name, expected) in self.once.iter().filter(|(name, _)| is_ours(name)) {
            let values: Vec<_> = fields.iter().filter(|(other, _)| other == name).collect();
            let [(_, value)] = values.as_slice() else {
                panic!("{name} is there {} times: {shown}", values.len())
            };
            assert!(expected.is_none_or(|expected| expected.as_bytes() == *value), "{name}: {shown}");
        }
        let value = |name: &str| {
            let field = fields.iter().find(|(other, _)| other == name);
            String::from_utf8_lossy(field.expect("it is there").1)
        };
        assert_eq!(value("content-length"), request.body.len().to_string());
        assert_eq!(value("webhook-id"), message.id.to_string());
        assert_eq!(decoded(&value("broadcaster-subject")), *message.subject);
    }

    fn check_target(&self, message: &Message, target: &str) {
        // What a receiver's parser makes of it is the same.
        let whole = url::Url::parse(&format!("https://{HOST}{target}")).expect("it is an address");
        assert_eq!(whole.host_str().zip(whole.port()), Some(("hooks.example.com", 8443)), "{target}");
        let query = whole.query().expect("there is a query");
        assert_eq!(format!("{}?{query}", whole.path()), target);
        if !self.is_placed {
            assert_eq!(target, PATH);
            return;
        }
        let parts: Vec<_> = whole.path().split('/').collect();
        let ["", "t", token, subject] = parts.as_slice() else { panic!("another path: {target}") };
        let sent = message.subject.split('.').nth(1).unwrap_or("none");
        assert_eq!(
            (&*decoded(token), decoded(subject)),
            (sent, format!("x{}", message.subject).into()),
            "{target}"
        );
        let path = decoded(whole.path());
        assert!(!path.split(['/', '\\']).any(|part| [".", ".."].contains(&part)), "{target}");
        let values: Vec<_> =
            query.split('&').map(|pair| pair.split_once('=').unwrap_or_default().0).collect();
        assert_eq!(values, ["h", "d"], "{target}");
    }
}

/// A name as receivers take it that make no difference between `_` and `-`.
fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

fn is_event(headers: &Headers) -> bool {
    let has = |name: &str| headers.get(name).is_some_and(|value| !value.is_empty());
    ["ce-specversion", "ce-id", "ce-source", "ce-type"].into_iter().all(has)
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy()
}

/// The routes that a message is tried on.
pub(crate) struct Forging(Vec<Route>);

impl Forging {
    pub(crate) fn new() -> Self {
        Self(Route::all())
    }

    /// Makes a message of `input`, whose first two bytes say how long its subject and its headers are, and of it the requests
    /// of all routes, at `now`.
    pub(crate) fn check(&self, input: &[u8], now: Time) {
        let [subject, headers, rest @ ..] = input else { return };
        let (subject, rest) = rest.split_at(rest.len().min(usize::from(*subject)));
        let (headers, payload) = rest.split_at(rest.len().min(4 * usize::from(*headers)));
        let headers = Headers::from_lines(headers.to_vec().into());
        let id = headers.get_bytes("Nats-Msg-Id").map_or_else(Id::fresh, Id::given);
        let subject = String::from_utf8_lossy(subject);
        let message = Message::new(id, subject.into(), headers, payload.to_vec().into(), Time::START);
        let mut batch = Batch::from(message);
        batch.begin_attempt();
        self.0.iter().for_each(|route| route.check(&batch, now));
    }
}
