//! No message breaks out of its place in a template, nor keeps it from ending.

use std::{fs, path::Path, time::Instant};

use broadcaster::{
    base::clock::Time,
    message::{Headers, Id, Message},
    template::{Place, Source},
};
use testkit::dice::Dice;

use super::SOON;
use crate::rendering;

/// What messages are put together from: all that means something in JSON, addresses, headers, markup or templates.
const PIECES: [&[u8]; 40] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\n",
    b"\r\n",
    b"\0",
    b"\x01",
    b"\x1b",
    b"\x7f",
    b"\xff",
    b"\xe2\x80\xa8",
    b"\xf0\x9f\x98\x80",
    b".",
    b"..",
    b"/",
    b"%2e",
    b"%",
    b"?",
    b"#",
    b"&",
    b"=",
    b"<",
    b">",
    b"'",
    b";",
    b"{{ id }}",
    b"{% if",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"1e999",
    b"-0.0",
    b"a",
    b" ",
    b"\"a\": 1",
];

#[test]
fn no_message_breaks_out_of_its_place() {
    let mut dice = Dice::new(7);
    for _ in 0..2_000 {
        let pieces = dice.roll(24);
        let input: Vec<u8> = (0..pieces).flat_map(|_| dice.one_of(&PIECES)).copied().collect();
        rendering::check(&input);
    }
}

#[test]
fn what_the_fuzzer_begins_with_breaks_out_of_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/rendering");
    for entry in fs::read_dir(folder).expect("there is a corpus") {
        rendering::check(&fs::read(entry.expect("it can be read").path()).expect("it can be read"));
    }
}

#[test]
fn the_work_for_a_message_is_bounded_whatever_is_in_it() {
    let payloads = [
        format!("[{}0]", "0,".repeat(90_000)),
        format!("[{}0{}]", "[".repeat(120), "]".repeat(120)),
        format!("\"{}\"", "\\u0000".repeat(170_000)),
        format!("{{{}\"\": 1}}", (0..40_000).map(|n| format!("\"{n}\": {n}, ")).collect::<String>()),
        "[".repeat(1 << 20),
    ];
    let templates = [
        "{% for a in data %}{% for b in data %}{{ a }}{{ b }}{% endfor %}{% endfor %}",
        "{% for a in data recursive %}{{ loop(a) }}{% endfor %}",
        "{% for a in range(1000000000) %}{{ data }}{% endfor %}",
        "{{ data | tojson | tojson | tojson | tojson | tojson | tojson }}",
        "{{ data | sort | unique | list | reverse | join(text) }}",
        "{{ (text ~ text) * 1000 }}",
        "{{ text | replace('0', text) }}",
        "{% set x = text ~ text %}{% set x = x ~ x %}{% set x = x ~ x %}{% set x = x ~ x %}{% set x = x ~ x %}{{ x }}",
    ];
    for template in templates {
        let text = Source::new(template, Place::Json).expect(template).compile();
        for payload in &payloads {
            let payload = payload.clone().into_bytes().into();
            let message = Message::new(Id::fresh(), "todos".into(), Headers::default(), payload, Time::START);
            let began = Instant::now();
            let made = text.render(&message, Time::START);
            assert!(began.elapsed() < SOON, "{template} took {:?}", began.elapsed());
            assert!(made.is_err() || made.is_ok_and(|made| made.len() <= 1 << 20), "{template}");
        }
    }
}
