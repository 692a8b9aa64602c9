use super::*;
use crate::message::{Headers, Id, acknowledgement::AckHandle};

fn message(payload: &str) -> Message {
    let headers = Headers::new([("X-User", "ann"), ("Link", "a\"b")]);
    let payload = payload.as_bytes().to_vec().into();
    let mut message =
        Message::new(Id::given("id-1"), "todos.eu.created".into(), headers, payload, Time::START);
    message.attempts = 2;
    message
}

fn rendered(template: &str, place: Place, payload: &str) -> Result<String, String> {
    let text =
        Source::new(template, place).unwrap_or_else(|mistake| panic!("{template}: {mistake}")).compile();
    text.render(&message(payload), Time::START)
}

fn json(template: &str, payload: &str) -> Result<String, String> {
    rendered(template, Place::Json, payload)
}

fn mistake(template: &str, place: Place) -> String {
    Source::new(template, place).expect_err(template).to_string()
}

#[test]
fn a_template_knows_the_message() {
    let plain = |template| rendered(template, Place::Plain, r#"{"b": {"title": "x"}, "a": [1, 2.5]}"#);
    for (template, expected) in [
        ("{{ subject }} {{ tokens[1] }} {{ tokens | length }}", "todos.eu.created eu 3"),
        ("{{ headers['x-user'] }} {{ headers.LINK }}", "ann a\"b"),
        ("{{ id }} {{ attempt }}", "id-1 2"),
        ("{{ data.b.title | upper }} {{ data.a[1] }}", "X 2.5"),
        ("{{ data }}", r#"{"b":{"title":"x"},"a":[1,2.5]}"#),
        ("{{ text[:4] }}", "{\"b\""),
        ("{{ stream | default('none') }}", "none"),
        ("{% for name in headers %}{{ name }};{% endfor %}", "x-user;link;"),
        ("{{ none }} {{ true }}", "null true"),
        ("{% if data.url %}a{% else %}b{% endif %}", "b"),
    ] {
        assert_eq!(plain(template).as_deref(), Ok(expected), "{template}");
    }
    assert!(plain("{{ time }}").is_ok_and(|time| humantime::parse_rfc3339(&time).is_ok()));
}

#[test]
fn a_message_of_a_stream_knows_its_place() {
    let mut message = message("");
    message.ack = Some(AckHandle::of("$JS.ACK.TODOS.c.1.17.1.1700000000000000000.0"));
    let text = Source::new("{{ stream }} {{ sequence }} {{ time }}", Place::Plain).unwrap().compile();
    assert_eq!(text.render(&message, Time::START).as_deref(), Ok("TODOS 17 2023-11-14T22:13:20.000Z"));
}

#[test]
fn a_value_becomes_part_of_a_string_or_a_value_of_its_own() {
    let payload = r#"{"title": "say \"hi\"\n", "count": 3, "tags": ["a\"b"], "none": null}"#;
    for (template, expected) in [
        (r#"{"t": "new: {{ data.title }}!"}"#, r#"{"t": "new: say \"hi\"\n!"}"#),
        (r#"{"t": {{ data.title }}}"#, r#"{"t": "say \"hi\"\n"}"#),
        (r#"{"t": {{ data.title | tojson }}}"#, r#"{"t": "say \"hi\"\n"}"#),
        (r#"{"n": {{ data.count }}, "s": "{{ data.count }}"}"#, r#"{"n": 3, "s": "3"}"#),
        (r#"{"l": {{ data.tags }}, "s": "{{ data.tags }}"}"#, r#"{"l": ["a\"b"], "s": "[\"a\\\"b\"]"}"#),
        (r#"{"x": {{ data.none }}, "y": "{{ data.none }}"}"#, r#"{"x": null, "y": "null"}"#),
        (r#"["\\{{ data.title }}"]"#, r#"["\\say \"hi\"\n"]"#),
        (r#"{"t": {{ "a" ~ data.title }}}"#, r#"{"t": "asay \"hi\"\n"}"#),
        (
            r#"{% set t %}<{{ data.title }}>{% endset %}["{{ t }}", {{ t }}]"#,
            r#"["<say \"hi\"\n>", "<say \"hi\"\n>"]"#,
        ),
        (r#"["{% filter upper %}{{ data.title }}{% endfilter %}"]"#, r#"["SAY \"HI\"\n"]"#),
        (r#"[{{ data.tags | tojson | tojson }}]"#, r#"["[\"a\\\"b\"]"]"#),
    ] {
        assert_eq!(json(template, payload).as_deref(), Ok(expected), "{template}");
    }
    assert_eq!(
        json(r#"["\{{ data.count }}"]"#, payload),
        Err("invalid operation: a value can't stand behind a backslash".into())
    );
}

#[test]
fn a_number_that_has_more_digits_than_fit_becomes_the_one_that_is_nearest() {
    for number in ["-9223370365678901234567890", "18446744073709551616", "0.1234567890123456789", "8.5e-323"]
    {
        let made = json("{{ data }}", number).unwrap();
        assert_eq!(made.parse::<f64>(), number.parse::<f64>(), "{number} became {made}");
    }
}

#[test]
fn each_place_has_its_way_of_writing() {
    let payload = r#"{"x": "a/b?c=d&e <é>%\r\n"}"#;
    for (place, expected) in [
        (Place::Plain, "a/b?c=d&e <é>%\r\n"),
        (Place::Markup, "a&#x2f;b?c=d&amp;e &lt;é&gt;%\r\n"),
        (Place::Form, "a%2Fb%3Fc%3Dd%26e%20%3C%C3%A9%3E%25%0D%0A"),
        (Place::Address, "a%2Fb%3Fc%3Dd%26e%20%3C%C3%A9%3E%25%0D%0A"),
        (Place::Header, "a/b?c=d&e <%C3%A9>%25%0D%0A"),
    ] {
        assert_eq!(rendered("{{ data.x }}", place, payload).as_deref(), Ok(expected), "{place:?}");
    }
    assert!(rendered("{{ data.x }}", Place::Attribute, payload).is_err_and(|why| why.contains("control")));
}

#[test]
fn no_value_leads_out_of_its_part_of_an_address() {
    for value in ["..", ".", "../x", "a/../b", "..\\\\x", ""] {
        let payload = format!(r#"{{"x": "{value}"}}"#);
        assert!(rendered("/a/{{ data.x }}/b", Place::Address, &payload).is_err(), "{value}");
    }
    assert!(rendered("/{{ data.a }}{{ data.a }}", Place::Address, r#"{"a": "."}"#).is_err());
    assert_eq!(rendered("/a?b={{ data.x }}", Place::Address, r#"{"x": ".."}"#).as_deref(), Ok("/a?b=.."));
}

#[test]
fn what_is_missing_is_named() {
    let why = |template, payload| json(template, payload).unwrap_err();
    assert_eq!(why("[{{ data.title }}]", "{}"), "`data.title` is undefined");
    assert_eq!(why("[{{ headers['x-no'] }}]", "{}"), "`headers['x-no']` is undefined");
    assert_eq!(why("[{{ sequence }}]", "{}"), "`sequence` is undefined");
    let no_json = why("[{{ data.title }}]", "hello");
    assert!(no_json.contains("`data") && no_json.contains("the payload is no JSON"), "{no_json}");
    assert_eq!(json("[{{ data.title | default('x') }}]", "{}").as_deref(), Ok("[\"x\"]"));
}

#[test]
fn mistakes_are_found_without_a_message() {
    for (template, expected) in [
        ("{\n{{ subjet }}", "there is no variable subjet: expected one of subject, "),
        ("\n{{ subject | uper }}", "there is no filter uper, in line 2"),
        ("{% if a is definde %}{% endif %}", "there is no variable a"),
        ("{% if data is not definde %}{% endif %}", "there is no test definde, in line 1"),
        ("{% filter uper %}{% endfilter %}", "there is no filter uper"),
        ("{{ subject | safe }}", "there is no filter safe"),
        ("\n\n{{ subject", "in line 3"),
        ("{% include 'x' %}", "unknown statement include"),
        ("{% macro x() %}{% endmacro %}", "unknown statement macro"),
    ] {
        let mistake = mistake(template, Place::Plain);
        assert!(mistake.contains(expected), "{template}: {mistake}");
    }
    assert_eq!(mistake("a\nb", Place::Header), "'\\n' can't stand here, in line 1");
    assert_eq!(mistake("/a b/{{ subject }}", Place::Address), "' ' can't stand here, in line 1");
}

#[test]
fn a_template_ends_and_what_it_makes_is_bounded() {
    let many = format!("[{}0]", "0,".repeat(3000));
    let loops =
        "{% for a in data %}{% for b in data %}{% for c in data %}{% endfor %}{% endfor %}{% endfor %}";
    assert_eq!(rendered(loops, Place::Plain, &many), Err("it takes too many steps".into()));
    let large = format!("\"{}\"", "x".repeat(600 << 10));
    assert_eq!(json("[{{ data }}, {{ data }}]", &large), Err("it would be larger than 1024 KiB".into()));
    assert_eq!(rendered("{{ data }}", Place::Header, &large), Err("it would be larger than 4 KiB".into()));
    assert!(rendered("{{ 'x' * 100000000 }}", Place::Plain, "").is_err());
    let deep = "[".repeat(100_000);
    assert!(json("[{{ data }}]", &deep).is_err_and(|why| why.contains("no JSON")));
    let wide = format!("[{}0]", "0,".repeat(200_000));
    assert!(json("[{{ data[0] }}]", &wide).is_err_and(|why| why.contains("more than 100000 values")));
}

#[test]
fn secrets_are_there_by_name_and_do_not_print() {
    let secrets = Secrets::from_iter([("key".to_owned(), "s3\"cret".to_owned())]);
    let source = Source::new(r#"{"key": "{{ secrets.key }}"}"#, Place::Json).unwrap();
    let source = source.with_secrets(&secrets).unwrap();
    let text = source.compile();
    assert_eq!(text.render(&message(""), Time::START).as_deref(), Ok(r#"{"key": "s3\"cret"}"#));
    for shown in [format!("{secrets:?}"), format!("{source:?}"), format!("{text:?}")] {
        assert!(!shown.contains("s3"), "{shown}");
    }
    let other = Source::new("\n{{ secrets.kye }}", Place::Plain).unwrap();
    assert_eq!(other.with_secrets(&secrets).unwrap_err().to_string(), "there is no secret kye, in line 2");
    assert!(mistake("{{ secrets.key }}", Place::Header).contains("only the template of a body"));
    assert_ne!(secrets, Secrets::from_iter([("key".to_owned(), "other".to_owned())]));
}
