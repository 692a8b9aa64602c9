//! Messages that were forged to change where requests go, what they say, or what the log says.

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use broadcaster::base::clock::Time;
use testkit::dice::Dice;

use super::forging::Forging;

/// Some of `PIECES`, and now and then any byte.
fn text(dice: &mut Dice, most: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..dice.roll(most) {
        match dice.roll(12) {
            0 => text.push(dice.byte()),
            _ => text.extend_from_slice(dice.one_of(PIECES).as_bytes()),
        }
    }
    text
}

/// What has a meaning in an address, in a head, or in a log.
const PIECES: &[&str] = &[
    "a",
    "todos",
    ".",
    "..",
    "/",
    "\\",
    "%2e",
    "%2F",
    "%",
    "%0d%0a",
    "?",
    "#",
    "&",
    "=",
    ";",
    ":",
    "@",
    "+",
    " ",
    "\t",
    "\r",
    "\n",
    "\r\n",
    "\0",
    "\x1b[31m",
    "\u{7f}",
    "é",
    "\u{2028}",
    "\u{feff}",
    "{{ id }}",
    "{%",
    "\"",
    "'",
    "{",
    "}",
    "http://evil.example/",
    "//evil.example",
    "HTTP/1.1\r\n",
    "\r\nHost: evil\r\n",
    "\r\n\r\nPOST / HTTP/1.1\r\n",
];

/// Names that somebody would like to set, and others.
const NAMES: &[&str] = &[
    "X-A",
    "x-a",
    "X-Operator",
    "x_operator",
    "X_Made",
    "x-made",
    "Host",
    "Content-Length",
    "Content_Length",
    "Content-Type",
    "Transfer-Encoding",
    "Transfer_Encoding",
    "Connection",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Upgrade",
    "Expect",
    "User-Agent",
    "User_Agent",
    "Proxy-Authorization",
    "webhook-id",
    "Webhook_Id",
    "webhook-signature",
    "broadcaster-attempt",
    "Broadcaster_Subject",
    "Nats-Msg-Id",
    "Nats-Rollup",
    "ce-type",
    "ce_type",
    "ce-id",
    "ce-specversion",
    "ce-source",
    "traceparent",
    "Authorization",
    "Cookie",
    "X(Y)",
    "X\u{e9}",
    "X Y",
    "",
];

fn forged(dice: &mut Dice) -> Vec<u8> {
    let mut subject = text(dice, 8);
    subject.truncate(255);
    let mut headers = Vec::new();
    for _ in 0..dice.roll(10) {
        headers.extend_from_slice(dice.one_of(NAMES).as_bytes());
        headers.extend_from_slice(if dice.roll(20) == 0 { b"" } else { b": " });
        headers.extend(text(dice, 6));
        headers.extend_from_slice(if dice.roll(20) == 0 { b"\n" } else { b"\r\n" });
    }
    headers.resize(headers.len().next_multiple_of(4).min(4 * 255), b'\n');
    let lengths = [subject.len(), headers.len() / 4].map(|length| u8::try_from(length).expect("it fits"));
    [&lengths[..], &subject, &headers, &text(dice, 12)].concat()
}

/// The log, as its lines stand in it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no holder panics").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_forged_message_changes_no_address_no_header_of_ours_and_no_line_of_the_log() {
    let seed = std::env::var("FORGED_SEED").map_or(7, |seed| seed.parse().expect("FORGED_SEED is a number"));
    eprintln!("FORGED_SEED={seed}");
    let (mut dice, routes, log) = (Dice::new(seed), Forging::new(), Log::default());
    let lines = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || lines.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        for number in 0..5_000 {
            // Late enough after the one before that the log may be told of each.
            routes.check(&forged(&mut dice), Time::from_start(Duration::from_secs(100 * number)));
        }
    });
    let log = String::from_utf8(log.0.lock().expect("no holder panics").clone()).expect("the log is text");
    let lines: Vec<_> = log.lines().collect();
    assert!(lines.len() > 500, "nothing was told: {lines:?}");
    for line in lines {
        let is_whole = line.contains(" WARN ") && line.contains("a header of a publisher is ");
        assert!(is_whole && !line.contains(char::is_control) && line.is_ascii(), "{line:?}");
    }
}
