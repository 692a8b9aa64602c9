//! What a webhook of the kit remembers of the requests that it got.

use std::collections::{BTreeMap, VecDeque};

use super::super::tally::{Numbers, Tally};
use super::{Behaviour, Received, Reply};

/// The counts, the last requests, and how the next one is answered.
pub(super) struct Record {
    pub(super) behaviour: Behaviour,
    /// The kept requests, the oldest first.
    pub(super) requests: VecDeque<Received>,
    /// How many of them are kept.
    keep: usize,
    pub(super) received: usize,
    pub(super) delivered: usize,
    pub(super) tally: Tally,
    answers: BTreeMap<u16, usize>,
    pub(super) accepted: usize,
    pub(super) open: usize,
    in_flight: usize,
    pub(super) most_in_flight: usize,
}

impl Record {
    pub(super) fn new(keep: usize) -> Self {
        Self {
            behaviour: Behaviour::from(200),
            requests: VecDeque::new(),
            keep,
            received: 0,
            delivered: 0,
            tally: Tally::default(),
            answers: BTreeMap::new(),
            accepted: 0,
            open: 0,
            in_flight: 0,
            most_in_flight: 0,
        }
    }

    /// Takes a request; gives its place in the order of arrival, and how it shall be answered.
    pub(super) fn arrived(&mut self, request: Received) -> (usize, Reply) {
        let reply = self.behaviour.reply(&request);
        if self.requests.len() == self.keep {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
        self.received += 1;
        self.in_flight += 1;
        self.most_in_flight = self.most_in_flight.max(self.in_flight);
        (self.received - 1, reply)
    }

    /// The request at `place`, with this body, is answered now.
    pub(super) fn answered(&mut self, place: usize, body: &[u8], reply: &Reply) {
        let status = reply.status.as_u16();
        let oldest = self.received - self.requests.len();
        if let Some(request) = place.checked_sub(oldest).and_then(|index| self.requests.get_mut(index)) {
            request.status = Some(status);
        }
        *self.answers.entry(status).or_default() += 1;
        if reply.status.is_success() {
            self.delivered += 1;
            self.tally.add(body);
        }
    }

    /// A request that had arrived is done with: answered, or its connection is gone.
    pub(super) fn finished(&mut self) {
        self.in_flight -= 1;
    }

    pub(super) fn summary(&self) -> String {
        format!(
            "{} requests received, answered {:?}, {} delivered ({} different); more than once: {}; \
             connections: {} accepted, {} open",
            self.received,
            self.answers,
            self.delivered,
            self.tally.distinct(),
            Numbers(self.tally.again().to_vec()),
            self.accepted,
            self.open,
        )
    }
}
