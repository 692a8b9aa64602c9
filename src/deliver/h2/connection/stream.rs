//! One request and its answer on a connection.

use super::super::frame::Code;
use crate::{
    deliver::{
        answer::{self, Answer},
        fault::{ExchangeError, Fault},
        partial::Partial,
        patience::Patience,
    },
    message::outcome::Failure,
};

/// A stream that is open.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// Where the request begins in all that is sent over the connection.
    pub(super) begins: u64,
    /// Where it ends, when it is all in the buffer.
    pub(super) ends: Option<u64>,
    /// How much of its body is in the buffer or behind it.
    pub(super) sent: usize,
    /// How much more of it may be sent: less than nothing where the peer has changed its mind.
    pub(super) window: i64,
    /// Whether it waits for more of a window, or for room in the buffer.
    pub(super) wants: bool,
    /// How much more of an answer may come.
    pub(super) credit: i64,
    pub(super) partial: Partial,
    /// How many interim responses came.
    pub(super) interim: u8,
    /// What has come of it.
    pub(super) end: Option<End>,
    /// Whether nothing more comes from the other side.
    pub(super) is_closed_there: bool,
    /// Whether its time is over.
    pub(super) is_late: bool,
}

/// How a stream has ended.
#[derive(Debug)]
pub(super) enum End {
    /// There is an answer, or as much of it as matters.
    Answered,
    /// There is none, or none that counts.
    Failed(ExchangeError),
}

impl Stream {
    /// The answer is complete, or nothing more of it comes or is wanted, which is noted.
    pub(super) fn answered(&mut self, odd: Option<&'static str>) {
        if let Some(odd) = odd {
            self.partial.note(odd);
        }
        self.end.get_or_insert(End::Answered);
    }

    /// Nothing more comes. `unanswered` makes the error where there is not even a status; `request` is broken off, too,
    /// which counts where it was not sent whole.
    pub(super) fn broken_off(
        &mut self,
        odd: &'static str,
        is_sent: bool,
        unanswered: impl FnOnce() -> ExchangeError,
    ) {
        let status = self.partial.status();
        match (&self.end, status) {
            (Some(End::Failed(_)), _) => {}
            // It has said all that it wanted to know.
            (_, Some(status)) if is_sent || !answer::is_delivery(status) => {
                self.answered(Some(odd).filter(|_| self.end.is_none()));
            }
            (_, Some(_)) => {
                let words = "the request was not read to its end, though it was answered";
                self.end = Some(End::Failed(ExchangeError::Failed(Fault::new(Failure::Reset, words))));
            }
            (_, None) => self.end = Some(End::Failed(unanswered())),
        }
    }

    /// The server has reset it.
    pub(super) fn reset(&mut self, code: Code, is_sent: bool) {
        self.is_closed_there = true;
        // It asks us to stop sending: the answer stands, and is complete (RFC 9113, section 8.1).
        let is_answered = matches!(self.end, Some(End::Answered));
        if code == Code::NO_ERROR && is_answered {
            self.ends.get_or_insert(0);
            return;
        }
        self.broken_off("the stream was reset within the answer", is_sent, || match code {
            Code::REFUSED_STREAM => {
                ExchangeError::NotSent(Fault::new(Failure::Reset, "the webhook refused the stream"))
            }
            Code::HTTP_1_1_REQUIRED => ExchangeError::Failed(Fault::new(
                Failure::Protocol,
                "the webhook wants HTTP/1.1 for this request: webhook.http = \"1.1\"",
            )),
            code => {
                let words = format_args!("the webhook reset the stream without an answer: {}", code.name());
                ExchangeError::Failed(Fault::new(Failure::Reset, words))
            }
        });
    }

    /// What has come of it, where something has. `is_out` says whether the whole request has left us. A refusal counts at
    /// once, a delivery when the request is out: as in HTTP/1.1.
    pub(super) fn outcome(
        &mut self,
        is_out: bool,
        patience: &Patience,
    ) -> Option<Result<Answer, ExchangeError>> {
        let counts = |status| is_out || !answer::is_delivery(status);
        let status = self.partial.status();
        match self.end.take_if(|end| match end {
            End::Answered => status.is_some_and(counts),
            End::Failed(_) => true,
        }) {
            Some(End::Failed(error)) => return Some(Err(error)),
            Some(End::Answered) => return self.partial.finish().map(Ok),
            None => {}
        }
        let is_answered = self.end.is_some();
        if !is_answered && !self.partial.keeps() && status.is_some_and(counts) {
            patience.wait_for_the_rest();
        }
        if !patience.is_over() {
            return None;
        }
        if status.is_some_and(counts) {
            self.partial.note("the answer did not end in time");
            return self.partial.finish().map(Ok);
        }
        let what = if is_out { "no answer" } else { "the request was not read" };
        let early = if status.is_some() { ", though it was answered," } else { "" };
        Some(Err(ExchangeError::Failed(patience.timed_out(format_args!("{what}{early}")))))
    }
}
