//! What becomes of a request: it is verified, printed and counted, and told its answer.

use std::{
    cell::{Cell, RefCell},
    fmt::Display,
    io::{self, Write as _},
    num::NonZeroU64,
    rc::Rc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{header::CONTENT_ENCODING, request::Parts};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    answers::Answer,
    options::Answers,
    print::{Printer, Shown},
};
use crate::{
    config::ContentCoding,
    deliver::{
        self,
        sign::verify::{NotVerified, Verifier},
    },
};

/// No body is larger, in bytes: NATS takes 64 MiB at most, and few servers are set so.
pub(super) const LONGEST_BODY: usize = 64 << 20;

/// Takes requests, one after the other.
pub(super) struct Receiver {
    answers: Answers,
    verifier: Option<Verifier>,
    limit: Option<NonZeroU64>,
    printer: RefCell<Printer>,
    tally: Cell<Tally>,
    /// Why nothing can be printed any more.
    failed: Cell<Option<io::Error>>,
}

/// How many requests came, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All that came.
    pub requests: u64,
    /// Those that were told that all is well.
    pub taken: u64,
    /// Those whose signature was looked for and not found good.
    pub unverified: u64,
}

impl Receiver {
    pub(super) fn new(
        answers: Answers,
        verifier: Option<Verifier>,
        limit: Option<NonZeroU64>,
        printer: Printer,
    ) -> Rc<Self> {
        Rc::new(Self {
            answers,
            verifier,
            limit,
            printer: RefCell::new(printer),
            tally: Cell::default(),
            failed: Cell::default(),
        })
    }

    /// How long each answer is held back.
    pub(super) const fn delay(&self) -> Option<Duration> {
        self.answers.delay
    }

    /// How many came so far; the error is why they can't be printed any more.
    pub(super) fn finish(&self) -> io::Result<Tally> {
        match self.failed.take() {
            None => Ok(self.tally.get()),
            Some(error) => Err(error),
        }
    }

    /// Takes a request, and says how it is answered; none where there were enough. Cancels `stop` with the last one.
    pub(super) fn take(&self, head: &Parts, body: Bytes, stop: &CancellationToken) -> Option<Answer> {
        let Tally { requests, taken, unverified } = self.tally.get();
        let number = requests + 1;
        if self.limit.is_some_and(|limit| number > limit.get()) {
            return None;
        }
        let now = SystemTime::now();
        let body = unpacked(head, body);
        let verified = self.verifier.as_ref().map(|verifier| match &body {
            Ok(body) => verifier.verify(&head.headers, body, now),
            Err(_) => Err(NotVerified::Wrong),
        });
        let answer = self.answers.to(number, chance());
        self.tally.set(Tally {
            requests: number,
            taken: taken + u64::from(!answer.is_failure()),
            unverified: unverified + u64::from(matches!(verified, Some(Err(_)))),
        });
        let shown = Shown { number, at: now, head, body: &body, verified: verified.as_ref(), answer };
        if let Err(error) = self.printer.borrow_mut().request(&shown) {
            self.failed.set(Some(error));
            stop.cancel();
        }
        if self.limit.is_some_and(|limit| number == limit.get()) {
            stop.cancel();
        }
        Some(answer)
    }

    /// Says why a connection with TLS was not made: most often, the sender does not trust the certificate.
    pub(super) fn failed_handshake(&self, error: &dyn Display) {
        drop(writeln!(io::stderr(), "a connection has failed at TLS: {error}"));
    }
}

/// The body as it was signed; else why it can't be told.
fn unpacked(head: &Parts, body: Bytes) -> Result<Bytes, String> {
    let Some(encoding) = head.headers.get(CONTENT_ENCODING) else { return Ok(body) };
    let known = [ContentCoding::Gzip, ContentCoding::Zstd];
    let coding =
        known.into_iter().find(|coding| encoding.as_bytes().eq_ignore_ascii_case(coding.name().as_bytes()));
    let coding = coding.ok_or_else(|| format!("{} bytes, packed in an unknown way", body.len()))?;
    let unpacked = deliver::unpack(coding, &body, LONGEST_BODY);
    unpacked
        .map(Bytes::from)
        .map_err(|error| format!("{} bytes that are no {}: {error}", body.len(), coding.name()))
}

/// A random number from 0 to 1.
fn chance() -> f64 {
    // The last 48 bits of a UUID of version 4 are random, and a float has room for them.
    const BITS: u64 = (1 << 48) - 1;
    let random = Uuid::new_v4().as_u64_pair().1 & BITS;
    #[expect(clippy::cast_precision_loss, reason = "both have 48 bits, and a float has 53")]
    return random as f64 / BITS as f64;
}
