//! What must hold of putting any message at all into a template. Shared by the tests and the fuzz target.
#![expect(clippy::panic, reason = "a test fails by a panic that says what was lost")]

use std::sync::Arc;

use broadcaster::{
    base::clock::Time,
    message::{Headers, Id, Message},
    template::{Place, Source},
};
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// Values within strings and as values, in a name, behind an escape, out of a block, and in what comes of filters.
const JSON: &str = r#"{% set kept %}<{{ subject }}>{% endset %}{
  "within": "{{ subject }}", "alone": {{ subject }}, "between": "a{{ subject }}\"{{ headers.x | default('') }}\\",
  "n{{ subject }}": 1, "kept": ["{{ kept }}", {{ kept }}], "json": {{ subject | tojson }}, "id": "{{ id }}",
  "text": "{{ text }}", "tokens": {{ tokens }}, "joined": {{ tokens | join('"') }},
  "upper": "{% filter upper %}{{ subject }}{% endfilter %}"{% for token in tokens %}, "t{{ loop.index }}": "{{ token }}"{% endfor %}
}"#;

/// Holds what is made of the message in `input`, which is subject, header and payload with a 0 between them, against the
/// message.
pub(crate) fn check(input: &[u8]) {
    let mut parts = input.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (subject, header, payload) = (String::from_utf8_lossy(part()), part(), part());
    let message = Message::new(
        Id::given(header),
        Arc::from(&*subject),
        Headers::new([("X", header)]),
        payload.to_vec().into(),
        Time::START,
    );
    let rendered = |template, place| {
        let source = Source::new(template, place).expect("the templates here are good");
        source.compile().render(&message, Time::START)
    };
    let made = rendered(JSON, Place::Json);
    // Some values stand there several times, in letters that JSON makes six of.
    assert!(made.is_ok() || input.len() > 10_000, "{made:?}");
    if let Ok(made) = made {
        check_json(&made, &message);
    }
    if let Ok(made) = rendered("{{ data }}", Place::Json) {
        let read: Value = serde_json::from_slice(payload).expect("a body of what is no JSON");
        assert_eq!(serde_json::from_str::<Value>(&made).expect("a body is JSON"), read);
    }
    if let Ok(made) = rendered("/a/{{ subject }}/b?c={{ headers.x | default('') }}&d", Place::Address) {
        check_address(&made, &message);
    }
    if let Ok(made) = rendered("a {{ subject }} {{ headers.x }} b", Place::Header) {
        assert!(made.starts_with("a ") && made.ends_with(" b"), "{made:?}");
        assert!(made.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{made:?}");
    }
    if let Ok(made) = rendered("<a b=\"{{ subject }}\">{{ text }}</a>", Place::Markup) {
        let counted = |sign| made.matches(sign).count();
        assert_eq!((counted("<"), counted(">"), counted("\"")), (2, 2, 2), "{made:?}");
    }
    if let Ok(made) = rendered("a={{ subject }}&b={{ text }}", Place::Form) {
        assert_eq!((made.matches('=').count(), made.matches('&').count()), (2, 1), "{made:?}");
    }
}

fn check_json(made: &str, message: &Message) {
    let subject = &*message.subject;
    let header = message.headers.get("x").unwrap_or_default();
    let body: Value = serde_json::from_str(made).unwrap_or_else(|error| panic!("no JSON: {error}: {made}"));
    let kept = format!("<{subject}>");
    let tokens: Vec<_> = subject.split('.').collect();
    for (name, expected) in [
        ("within", Value::from(subject)),
        ("alone", subject.into()),
        ("between", format!("a{subject}\"{header}\\").into()),
        (&format!("n{subject}"), 1.into()),
        ("kept", vec![kept.clone(), kept].into()),
        ("json", subject.into()),
        ("id", message.id.to_string().into()),
        ("text", String::from_utf8_lossy(&message.payload).into()),
        ("tokens", tokens.clone().into()),
        ("joined", tokens.join("\"").into()),
        ("upper", subject.to_uppercase().into()),
        ("t1", tokens[0].into()),
    ] {
        assert_eq!(body[name], expected, "{name} in {made}");
    }
}

fn check_address(made: &str, message: &Message) {
    let (path, query) = made.split_once('?').expect("the address has a query");
    let part = path.strip_prefix("/a/").and_then(|rest| rest.strip_suffix("/b")).expect("the path is ours");
    let value = query.strip_prefix("c=").and_then(|rest| rest.strip_suffix("&d")).expect("the query is ours");
    for (written, meant) in
        [(part, &*message.subject), (value, &message.headers.get("x").unwrap_or_default())]
    {
        assert!(
            written.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)),
            "{made}"
        );
        assert_eq!(percent_decode_str(written).decode_utf8().expect("it was text"), meant);
    }
    assert!(!matches!(part, "" | "." | ".."), "{made}");
}
