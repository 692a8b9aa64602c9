//! What must hold of an HTTP/2 connection whatever is done with it and whatever comes over it. Shared by the tests and the
//! fuzz target.

use std::collections::BTreeMap;
use std::time::Duration;

use broadcaster::base::clock::Clock;
use broadcaster::deliver::fault::ExchangeError;
use broadcaster::deliver::h2::connection::Connection;
use broadcaster::deliver::patience::Patience;
use broadcaster::message::outcome::Failure;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// More than ever may wait to be sent.
const MOST_WAITING: usize = 2 * 1024 * 1024;

/// How a request has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With this status.
    Answered(u16),
    /// Surely not taken.
    NotSent,
    /// Nobody knows whether it was.
    Failed,
    /// By us.
    Cancelled,
}

/// A request that is under way.
struct Request {
    body: Vec<u8>,
    /// How much of the body was seen to be sent, and whether its end was.
    sent: usize,
    is_sent: bool,
}

/// A connection, and what is known of it from outside.
struct Play {
    connection: Connection,
    /// Whether what is received arrives byte by byte.
    is_cut: bool,
    requests: BTreeMap<u32, Request>,
    last: u32,
    ended: Vec<(u32, Ended)>,
    /// What was sent, as far as it is no whole frame.
    rest: Vec<u8>,
    has_begun: bool,
    patience: Patience,
}

impl Play {
    fn new(is_cut: bool) -> Self {
        let clock = Clock::start();
        Self {
            connection: Connection::new(8, None),
            is_cut,
            requests: BTreeMap::new(),
            last: 0,
            ended: Vec::new(),
            rest: Vec::new(),
            has_begun: false,
            patience: Patience::new(clock.now(), Duration::from_secs(3600), clock),
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let step = if self.is_cut { 1 } else { bytes.len().max(1) };
        bytes.chunks(step).for_each(|part| self.connection.receive(part));
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
        self.receive(&[&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat());
    }

    fn open(&mut self, body: Vec<u8>) {
        let can_open = self.connection.can_open();
        let id = self.connection.open(|_, out| out.extend_from_slice(&[0x83, 0x86, 0x84]), &body);
        assert!(id.is_none() || can_open, "it opens one more than it says");
        if let Some(id) = id {
            assert!(id > self.last && id % 2 == 1, "{id} follows {}", self.last);
            self.last = id;
            self.requests.insert(id, Request { body, sent: 0, is_sent: false });
        }
    }

    fn pick(&self, number: u8) -> Option<u32> {
        let count = self.requests.len().max(1);
        self.requests.keys().nth(usize::from(number) % count).copied()
    }

    /// Looks what has come of each request.
    fn look(&mut self) {
        for id in self.requests.keys().copied().collect::<Vec<_>>() {
            self.connection.send(id, &self.requests[&id].body);
            let Some(outcome) = self.connection.outcome(id, &self.patience) else { continue };
            let ended = match outcome {
                Ok(answer) => Ended::Answered(answer.status),
                Err(ExchangeError::NotSent(_)) => Ended::NotSent,
                Err(_) => Ended::Failed,
            };
            self.requests.remove(&id);
            self.ended.push((id, ended));
        }
        assert_eq!(self.connection.open_streams() as usize, self.requests.len());
    }

    /// The socket takes so many bytes, which have to make sense.
    fn send(&mut self, count: usize) {
        assert!(self.connection.to_send().len() < MOST_WAITING, "more and more waits to be sent");
        let bytes = self.connection.to_send();
        let bytes = bytes[..count.min(bytes.len())].to_vec();
        self.connection.sent(bytes.len());
        self.rest.extend_from_slice(&bytes);
        if !self.has_begun && self.rest.len() >= PREFACE.len() {
            assert!(self.rest.starts_with(PREFACE));
            self.rest.drain(..PREFACE.len());
            self.has_begun = true;
        }
        while let (true, Some(head)) = (self.has_begun, self.rest.first_chunk::<9>().copied()) {
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            assert!(length <= 16_384, "a frame of {length} bytes");
            if self.rest.len() < 9 + length {
                break;
            }
            self.rest.drain(..9 + length);
            let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            if let (0, Some(request)) = (head[3], self.requests.get_mut(&id)) {
                assert!(!request.is_sent, "more of a body than there is");
                request.sent += length;
                request.is_sent = head[4] & 1 == 1;
                assert!(request.sent <= request.body.len());
                assert_eq!(request.is_sent, request.sent == request.body.len());
            }
        }
    }

    /// One step, as the front of `script` says it.
    fn step(&mut self, operation: u8, script: &mut &[u8]) {
        let mut take = |count: usize| {
            let (taken, rest) = script.split_at(count.min(script.len()));
            *script = rest;
            taken.to_vec()
        };
        let byte = |bytes: Vec<u8>| bytes.first().copied().unwrap_or_default();
        match operation % 16 {
            0..=3 => {
                let length = usize::from(byte(take(1)));
                self.open(vec![b'x'; length * 16]);
            }
            4 => {
                let count = usize::from(byte(take(1)));
                let bytes = take(count);
                self.receive(&bytes);
            }
            5 => {
                // Any frame that is whole, on a stream that there is or not.
                let [kind, flags, which, length] = take(4).try_into().unwrap_or_default();
                let stream = match which % 4 {
                    0 => 0,
                    1 => u32::from(which),
                    _ => self.pick(which).unwrap_or(1),
                };
                let payload = take(usize::from(length) % 40);
                self.frame(kind % 11, flags, stream, &payload);
            }
            6 => {
                let [which, value] = take(2).try_into().unwrap_or_default();
                self.frame_in_order(which, value);
            }
            7..=10 => {
                let statuses: [&[u8]; 4] = [&[0x88], &[0x8e], b"\x08\x03103", b"\x08\x03429"];
                let [which, status] = take(2).try_into().unwrap_or_default();
                if let Some(stream) = self.pick(which) {
                    let flags = 4 | (status >> 7);
                    self.frame(1, flags, stream, statuses[usize::from(status) % 4]);
                }
            }
            11 | 12 => {
                let count = usize::from(byte(take(1)));
                self.send(count * 64);
            }
            13 | 14 => self.look(),
            _ => {
                if let Some(id) = self.pick(byte(take(1))) {
                    self.connection.close(id);
                    self.requests.remove(&id);
                    self.ended.push((id, Ended::Cancelled));
                }
            }
        }
    }

    /// A frame that a server may send at any time.
    fn frame_in_order(&mut self, which: u8, value: u8) {
        let number = u32::from(value) * 64 + 1;
        match (which % 8, self.pick(value)) {
            (0, _) => self.frame(8, 0, 0, &number.to_be_bytes()),
            (1 | 2, Some(stream)) => self.frame(8, 0, stream, &number.to_be_bytes()),
            (3, _) => self.frame(4, 0, 0, &[&[0, 4], &number.to_be_bytes()[..]].concat()),
            (4, _) => self.frame(4, 0, 0, &[0, 3, 0, 0, 0, value]),
            (5, _) => self.frame(6, 0, 0, &[value; 8]),
            (6, Some(stream)) => self.frame(3, 0, stream, &u32::from(value % 14).to_be_bytes()),
            (7, Some(stream)) => self.frame(0, value % 2, stream, &[b'x'; 100]),
            _ => {}
        }
    }

    /// The connection ends: each request has an end, and each had one.
    fn end(mut self) -> Vec<(u32, Ended)> {
        self.send(usize::MAX);
        self.look();
        self.connection.lost(Failure::Reset.into(), false);
        self.look();
        assert!(self.requests.is_empty(), "{:?} have no end", self.requests.keys());
        assert!(self.connection.is_over() && !self.connection.can_open());
        let mut ids: Vec<_> = self.ended.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), self.ended.len(), "one has ended twice: {:?}", self.ended);
        self.ended
    }
}

/// No panic, one end for each request, nothing sent that makes no sense, and the same however what is received is cut.
/// `input` is a script; its first byte says whether the server has said its settings. Returns how the requests ended.
pub(crate) fn check(input: &[u8]) -> Vec<Ended> {
    let play = |is_cut| {
        let mut play = Play::new(is_cut);
        let mut script = input;
        while let Some((operation, rest)) = script.split_first() {
            if script.len() == input.len() && operation % 4 != 0 {
                play.frame(4, 0, 0, &[]);
            }
            script = rest;
            play.step(*operation, &mut script);
        }
        play.end()
    };
    let ended = play(false);
    assert_eq!(ended, play(true));
    ended.into_iter().map(|(_, ended)| ended).collect()
}
