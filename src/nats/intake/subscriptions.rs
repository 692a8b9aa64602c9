//! What a connection is subscribed to, and who takes the messages of each subscription.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use tracing::{error, info};

use super::Incoming;
use crate::base::clock::Time;

/// Takes the messages of a subscription straight from the block that they were read into.
///
/// Reading never waits for it: what is too much is its own decision.
pub trait Sink {
    /// Takes a message that was read at `now`.
    fn take(&self, message: Incoming, now: Time);

    /// What has been read so far was taken: the time to wake whoever works on it, once for all of it.
    fn taken(&self);

    /// The server has confirmed the subscription: messages come from now on, when there are any. It comes again after
    /// each reconnect, and after a refusal that was taken back.
    fn confirmed(&self) {}

    /// The server refuses the subscription, or has ended it; in its own words. It is asked again every few seconds.
    fn refused(&self, _why: &str) {}
}

/// A subscription, as it has to be made on each connection.
pub(super) struct Entry {
    pub(super) sid: u64,
    pub(super) subject: Box<str>,
    pub(super) queue_group: Option<Box<str>>,
    pub(super) sink: Rc<dyn Sink>,
    /// Whether the server was told to send nothing more.
    ended: Cell<bool>,
    refusal: RefCell<Option<String>>,
}

impl Entry {
    pub(super) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refusal.borrow().is_some()
    }

    pub(super) fn refusal(&self) -> Option<String> {
        self.refusal.borrow().clone()
    }

    /// The server has answered a PING that was sent behind the subscription, without a complaint before.
    pub(super) fn confirm(&self) {
        if self.refusal.take().is_some() {
            info!(subject = &*self.subject, "NATS takes the subscription again");
        }
        self.sink.confirmed();
    }

    /// Said once, and again when the reason changes: it is asked again every few seconds.
    pub(super) fn refuse(&self, why: &str) {
        let former = self.refusal.replace(Some(why.to_owned()));
        if former.as_deref() != Some(why) {
            error!(subject = &*self.subject, error = why, "NATS refuses the subscription, asking again");
        }
        self.sink.refused(why);
    }
}

/// All subscriptions of a connection, by the number (sid) that the server calls them by.
#[derive(Default)]
pub(super) struct Subscriptions {
    entries: RefCell<HashMap<u64, Rc<Entry>>>,
    latest: Cell<u64>,
}

impl Subscriptions {
    pub(super) fn add(&self, subject: &str, queue_group: Option<&str>, sink: Rc<dyn Sink>) -> Rc<Entry> {
        let sid = self.latest.get() + 1;
        self.latest.set(sid);
        let entry = Rc::new(Entry {
            sid,
            subject: subject.into(),
            queue_group: queue_group.map(Into::into),
            sink,
            ended: Cell::new(false),
            refusal: RefCell::default(),
        });
        self.entries.borrow_mut().insert(sid, Rc::clone(&entry));
        entry
    }

    pub(super) fn get(&self, sid: u64) -> Option<Rc<Entry>> {
        self.entries.borrow().get(&sid).cloned()
    }

    /// Notes that the server has been told to send nothing more. Returns whether that is news.
    pub(super) fn end(entry: &Entry) -> bool {
        !entry.ended.replace(true)
    }

    /// What still comes for it belongs to nobody.
    pub(super) fn forget(&self, sid: u64) {
        self.entries.borrow_mut().remove(&sid);
    }

    /// Those that a new connection has to make, in the order in which they were made first.
    pub(super) fn wanted(&self) -> Vec<Rc<Entry>> {
        self.sorted(|entry| !entry.has_ended())
    }

    /// Those that the server has refused.
    pub(super) fn refused(&self) -> Vec<Rc<Entry>> {
        self.sorted(|entry| !entry.has_ended() && entry.is_refused())
    }

    /// Those to a subject that `text` has between quotation marks, as the server's complaints do.
    pub(super) fn named_in(&self, text: &str) -> Vec<Rc<Entry>> {
        self.sorted(|entry| !entry.has_ended() && text.contains(&format!("\"{}\"", entry.subject)))
    }

    fn sorted(&self, is_it: impl Fn(&Entry) -> bool) -> Vec<Rc<Entry>> {
        let mut found: Vec<_> =
            self.entries.borrow().values().filter(|entry| is_it(entry)).cloned().collect();
        found.sort_unstable_by_key(|entry| entry.sid);
        found
    }
}
