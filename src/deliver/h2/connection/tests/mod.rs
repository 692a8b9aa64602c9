mod ends;
mod requests;

use std::time::Duration;

use super::*;
use crate::base::clock::Clock;

type Outcome = Result<Answer, ExchangeError>;

/// A connection that has heard of these settings of the server's.
fn settled(settings: &[(u16, u32)]) -> Connection {
    let mut connection = Connection::new(64, None);
    connection.receive(&settings_frame(settings));
    assert!(connection.to_send().starts_with(frame::PREFACE) && connection.is_ready());
    let length = connection.to_send().len();
    connection.sent(length);
    connection
}

fn frame_of(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    [&frame::head(payload.len(), kind, flags, stream)[..], payload].concat()
}

fn settings_frame(settings: &[(u16, u32)]) -> Vec<u8> {
    let entry = |(key, value): &(u16, u32)| [&key.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame_of(kind::SETTINGS, 0, 0, &settings.iter().flat_map(entry).collect::<Vec<_>>())
}

fn number(kind: u8, stream: u32, number: u32) -> Vec<u8> {
    frame_of(kind, 0, stream, &number.to_be_bytes())
}

fn goaway(last: u32, code: Code) -> Vec<u8> {
    frame_of(kind::GOAWAY, 0, 0, &[last.to_be_bytes(), code.0.to_be_bytes()].concat())
}

fn headers(stream: u32, block: &[u8], end: bool) -> Vec<u8> {
    frame_of(kind::HEADERS, flag::END_HEADERS | u8::from(end), stream, block)
}

fn data(stream: u32, bytes: &[u8], end: bool) -> Vec<u8> {
    frame_of(kind::DATA, u8::from(end), stream, bytes)
}

const OK: &[u8] = &[0x88];
const INTERNAL_ERROR: &[u8] = &[0x8e];

fn open(connection: &mut Connection, body: &[u8]) -> u32 {
    connection.open(|_, out| out.extend_from_slice(&[0x83, 0x86, 0x84]), body).unwrap()
}

/// As if the socket had taken all of it: the frames.
fn send_all(connection: &mut Connection) -> Vec<(u8, u8, u32, usize)> {
    let mut rest = connection.to_send().to_vec();
    connection.sent(rest.len());
    let mut frames = Vec::new();
    while let Some(head) = frame::FrameHead::read(&rest) {
        frames.push((head.kind, head.flags, head.stream, head.length));
        rest.drain(..HEAD + head.length);
    }
    assert!(rest.is_empty());
    frames
}

fn patience() -> Patience {
    let clock = Clock::start();
    Patience::new(clock.now(), Duration::from_secs(30), clock)
}

fn outcome(connection: &mut Connection, stream: u32) -> Option<Outcome> {
    connection.outcome(stream, &patience())
}

fn status(outcome: Option<Outcome>) -> u16 {
    match outcome {
        Some(Ok(answer)) => answer.status,
        other => panic!("no answer: {other:?}"),
    }
}

fn cause(error: &ExchangeError) -> String {
    let (ExchangeError::NotSent(fault)
    | ExchangeError::NotAcknowledged(fault)
    | ExchangeError::Failed(fault)) = error;
    fault.cause.as_deref().unwrap_or_default().to_owned()
}

fn touched(connection: &mut Connection) -> Vec<u32> {
    let mut streams = Vec::new();
    connection.each_touched(|stream| streams.push(stream));
    streams.sort_unstable();
    streams.dedup();
    streams
}
