//! The addresses of hosts: asks the system, and remembers what it said.
//!
//! What is known is used for as long as there is nothing newer. A name server that is away does not mean that the
//! host is.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::Notify, time::sleep_until};

use super::{
    cause::{self, Trouble},
    order::Order,
    questions::{Kind, Questions},
};
use crate::base::clock::{Clock, Time};

/// How long an answer is used before it is asked for again. The system does not tell for how long it is valid.
const FRESH: Duration = Duration::from_secs(30);
/// How long a failure stands before it is asked again: those who try again must not keep asking a name server
/// in trouble.
const FAILED: Duration = Duration::from_secs(1);
/// How long a question may take until older addresses are used: a host may have moved, and most answers are there
/// sooner.
const HOPE: Duration = Duration::from_millis(100);
/// A question that took longer is [`Kind::Slow`] the next time.
const SLOW: Duration = Duration::from_secs(2);

/// All names of the process: routes and lanes with the same host share what is known of it.
#[derive(Debug, Default)]
pub struct Resolver {
    names: Mutex<HashMap<String, Weak<Name>>>,
    questions: Arc<Questions>,
}

/// What is known of one name.
#[derive(Debug)]
pub struct Name {
    host: String,
    questions: Arc<Questions>,
    knowledge: Mutex<Knowledge>,
    order: Mutex<Order>,
    /// Wakes all who wait for an answer.
    answered: Notify,
}

impl Resolver {
    /// The name of `host`.
    pub fn name(&self, host: &str) -> Arc<Name> {
        let mut names = held(&self.names);
        if let Some(name) = names.get(host).and_then(Weak::upgrade) {
            return name;
        }
        // A reload may have taken routes away.
        names.retain(|_, name| name.strong_count() > 0);
        let name = Arc::new(Name {
            host: host.to_owned(),
            questions: Arc::clone(&self.questions),
            knowledge: Mutex::default(),
            order: Mutex::default(),
            answered: Notify::new(),
        });
        names.insert(host.to_owned(), Arc::downgrade(&name));
        name
    }
}

impl Name {
    /// The addresses, never none, in the order in which to try them. It waits only where nothing is known, and then for
    /// as long as the question takes.
    pub async fn addresses(self: &Arc<Self>, port: u16, clock: Clock) -> Result<Vec<SocketAddr>, Trouble> {
        loop {
            let mut answered = std::pin::pin!(self.answered.notified());
            // Before it is looked: an answer that comes between the two would be missed.
            answered.as_mut().enable();
            let now = clock.now();
            let (ask, advice) = held(&self.knowledge).advise(now);
            if let Some(kind) = ask {
                self.ask(kind, clock);
            }
            match advice {
                Advice::Use(addresses) => return Ok(held(&self.order).next(&addresses, port, now)),
                Advice::Fail(trouble) => return Err(trouble),
                Advice::Wait(None) => answered.await,
                Advice::Wait(Some(until)) => tokio::select! {
                    () = answered => {}
                    () = sleep_until(clock.instant(until)) => {}
                },
            }
        }
    }

    fn ask(self: &Arc<Self>, kind: Kind, clock: Clock) {
        let name = Arc::downgrade(self);
        let host = self.host.clone();
        let asked = self.questions.ask(
            kind,
            Box::new(move || {
                // Its route may be gone: then nobody wants to know any more.
                if name.strong_count() == 0 {
                    return;
                }
                let answer = look_up(&host);
                if let Some(name) = name.upgrade() {
                    name.learn(answer, clock.now());
                }
            }),
        );
        if let Err(error) = asked {
            let trouble = Trouble::ours(format_args!("no thread to look up {}: {error}", self.host));
            self.learn(Err(trouble), clock.now());
        }
    }

    fn learn(&self, answer: Answer, now: Time) {
        held(&self.knowledge).learn(answer, now);
        self.answered.notify_waiters();
    }

    /// Has the name asked for again soon, when none of its addresses answered. Not at once: while a host is down,
    /// each attempt comes here.
    pub fn doubt(&self, now: Time) {
        let mut knowledge = held(&self.knowledge);
        knowledge.fresh_until = knowledge.fresh_until.min(now + FAILED);
    }

    /// `address` did not answer, or not in time.
    pub fn shun(&self, address: SocketAddr, now: Time) {
        held(&self.order).shun(address, now);
    }

    /// `address` has answered.
    pub fn forgive(&self, address: SocketAddr) {
        held(&self.order).forgive(address);
    }
}

/// No holder can panic, nor waits for anything.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Answer = Result<Arc<[IpAddr]>, Trouble>;

/// Asks the system, with all that it is told by its files: hosts, search lists, other sources than DNS. Waits.
fn look_up(host: &str) -> Answer {
    let found = (host, 0).to_socket_addrs().map_err(|error| cause::of_lookup(host, &error))?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    if addresses.is_empty() {
        return Err(Trouble::theirs(format_args!("looking up {host}: it has no addresses")));
    }
    Ok(addresses.into())
}

/// The decisions about one name, which are told the time.
#[derive(Debug, Default)]
struct Knowledge {
    known: Option<Arc<[IpAddr]>>,
    /// Why the last question had no answer, where that is so.
    trouble: Option<Trouble>,
    /// When the known addresses are to be asked for again, or the next question is allowed after a failure.
    fresh_until: Time,
    /// Since when there is a question under way.
    asked: Option<Time>,
    /// Whether the last question took long.
    is_slow: bool,
}

/// What whoever wants to connect is to do.
#[derive(Debug, PartialEq, Eq)]
enum Advice {
    Use(Arc<[IpAddr]>),
    Fail(Trouble),
    /// For the answer; until this time, where there are addresses to fall back to.
    Wait(Option<Time>),
}

impl Knowledge {
    /// Which question is to be asked, if any, and what is to be done.
    fn advise(&mut self, now: Time) -> (Option<Kind>, Advice) {
        let ask = now >= self.fresh_until && self.asked.is_none();
        if ask {
            self.asked = Some(now);
        }
        let advice = match (&self.known, self.asked) {
            (None, Some(_)) => Advice::Wait(None),
            (Some(_), Some(since)) if now < since + HOPE => Advice::Wait(Some(since + HOPE)),
            (Some(known), _) => Advice::Use(Arc::clone(known)),
            (None, None) => {
                Advice::Fail(self.trouble.clone().unwrap_or_else(|| Trouble::theirs("never looked up")))
            }
        };
        (ask.then_some(if self.is_slow { Kind::Slow } else { Kind::Usual }), advice)
    }

    /// A question has come to its end.
    fn learn(&mut self, answer: Answer, now: Time) {
        self.is_slow = self.asked.take().is_some_and(|since| now.since(since) >= SLOW);
        match answer {
            Ok(addresses) => {
                self.known = Some(addresses);
                self.trouble = None;
                self.fresh_until = now + FRESH;
            }
            Err(trouble) => {
                self.trouble = Some(trouble);
                self.fresh_until = now + FAILED;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_start(Duration::from_millis(millis))
    }

    fn addresses(last: u8) -> Arc<[IpAddr]> {
        Arc::new([[10, 0, 0, last].into()])
    }

    fn trouble() -> Trouble {
        Trouble::theirs("silent")
    }

    #[test]
    fn one_asks_and_all_wait_where_nothing_is_known() {
        let mut name = Knowledge::default();
        assert_eq!(name.advise(at(0)), (Some(Kind::Usual), Advice::Wait(None)));
        assert_eq!(name.advise(at(9_000)), (None, Advice::Wait(None)));
        name.learn(Ok(addresses(1)), at(9_001));
        assert_eq!(name.advise(at(9_001)), (None, Advice::Use(addresses(1))));
    }

    #[test]
    fn what_is_known_is_used_while_nobody_answers() {
        let mut name = Knowledge { known: Some(addresses(1)), ..Knowledge::default() };
        assert_eq!(name.advise(at(0)), (Some(Kind::Usual), Advice::Wait(Some(at(100)))));
        assert_eq!(name.advise(at(99)), (None, Advice::Wait(Some(at(100)))));
        for millis in [100, 39_000] {
            assert_eq!(name.advise(at(millis)), (None, Advice::Use(addresses(1))));
        }
        name.learn(Err(trouble()), at(40_000));
        assert_eq!(name.advise(at(40_500)), (None, Advice::Use(addresses(1))));
        // Its questions are kept apart from those of others now.
        assert_eq!(name.advise(at(41_000)).0, Some(Kind::Slow));
        name.learn(Ok(addresses(2)), at(41_010));
        assert_eq!(name.advise(at(71_009)), (None, Advice::Use(addresses(2))));
        assert_eq!(name.advise(at(71_010)).0, Some(Kind::Usual));
    }

    #[test]
    fn a_failure_stands_for_a_second() {
        let mut name = Knowledge::default();
        name.advise(at(0));
        name.learn(Err(trouble()), at(10));
        assert_eq!(name.advise(at(1_009)), (None, Advice::Fail(trouble())));
        assert_eq!(name.advise(at(1_010)), (Some(Kind::Usual), Advice::Wait(None)));
    }

    #[test]
    fn routes_share_a_name_and_forget_it_together() {
        let resolver = Resolver::default();
        let name = resolver.name("a.example");
        assert!(Arc::ptr_eq(&name, &resolver.name("a.example")));
        drop(name);
        drop(resolver.name("b.example"));
        drop(resolver.name("c.example"));
        assert_eq!(held(&resolver.names).len(), 1);
    }
}
