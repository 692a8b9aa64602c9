//! One request of a worker on a connection that others use, too.

use std::{
    rc::Rc,
    task::{Context, Poll},
};

use super::{head::HeadWriter, link::Link};
use crate::deliver::{answer::Answer, fault::ExchangeError, patience::Patience, request::Request};

/// A request that is under way. Dropping it cancels its stream, and no other.
#[derive(Debug)]
pub(super) struct Exchange<'p> {
    link: Rc<Link>,
    stream: u32,
    body: &'p [u8],
    is_over: bool,
}

impl<'p> Exchange<'p> {
    /// Sends `request` over `link`; none where it has no stream left.
    pub(super) fn begin(link: &Rc<Link>, head: &HeadWriter, request: &'p Request<'_>) -> Option<Self> {
        link.begins(request.began);
        let body: &[u8] = &request.body;
        let write = |encoder: &mut _, out: &mut _| head.write(request, encoder, out);
        let stream = link.connection_mut().open(write, body);
        link.wake_driver();
        Some(Self { link: Rc::clone(link), stream: stream?, body, is_over: false })
    }

    /// The answer, when there is one that counts.
    pub(super) fn poll(
        &mut self,
        cx: &Context<'_>,
        patience: &Patience,
    ) -> Poll<Result<Answer, ExchangeError>> {
        let outcome = {
            let mut connection = self.link.connection_mut();
            connection.send(self.stream, self.body);
            connection.outcome(self.stream, patience)
        };
        patience.set_watched(outcome.is_none());
        match outcome {
            Some(outcome) => {
                self.is_over = true;
                self.link.freed();
                Poll::Ready(outcome)
            }
            None => {
                self.link.wait(self.stream, cx.waker(), patience.wake_at());
                if !self.link.connection().to_send().is_empty() {
                    self.link.wake_driver();
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.link.connection_mut().close(self.stream);
            self.link.freed();
        }
    }
}
