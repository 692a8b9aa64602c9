//! What the daemon would do after such an attempt, where it is the first one and tells all that is known.

use std::time::Duration;

use crate::{
    config::Route,
    message::outcome::{Attempt, Failure},
    route::schedule::{fault::Fault, policy::Policy},
};

/// What would become of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is delivered, or the webhook does not want it: it is done with.
    Done,
    /// It would be tried again.
    Retried,
    /// It would be dropped, or become a dead letter.
    Dead,
}

impl Fate {
    /// Its name in JSON.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retried => "retried",
            Self::Dead => "dead",
        }
    }
}

/// What would become of a message of `route` after `attempt`, and that in words.
pub(super) fn verdict(attempt: &Attempt, route: &Route) -> (Fate, String) {
    match attempt {
        Attempt::Delivered { status, unwanted: true, .. } => {
            (Fate::Done, format!("filtered: the webhook has said to drop it ({status})"))
        }
        Attempt::Delivered { status, odd, .. } => {
            let odd = odd.map(|odd| format!(", with {odd}")).unwrap_or_default();
            (Fate::Done, format!("delivered: {status}{odd}"))
        }
        Attempt::Failed { failure, retry_after, cause, .. } => {
            let (fate, words) = failed(*failure, *retry_after, route);
            let cause = cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
            (fate, format!("{words}{cause}"))
        }
    }
}

fn failed(failure: Failure, asked: Option<Duration>, route: &Route) -> (Fate, String) {
    let policy = Policy::from(&route.retry);
    let label = failure.label();
    let retried = |why: &str| (Fate::Retried, format!("would be tried again: {label}{why}"));
    match policy.fault(failure, asked) {
        Fault::Ours => retried(", and nobody pays for it"),
        Fault::Between => retried(", the proxy's fault and not the message's"),
        Fault::Throttled => match asked.map(|asked| policy.pause(asked)) {
            Some(wait) => {
                retried(&format!(", and the whole route would wait {}", humantime::format_duration(wait)))
            }
            None => retried(", and the route would send less"),
        },
        Fault::Gone => retried(", until the webhook is there again: it says that it is gone"),
        // Of one that refuses all, no message is to blame.
        Fault::Refused => retried(
            ", until others are delivered: that looks like the webhook's fault, a wrong address or credential",
        ),
        Fault::Down if policy.ends(failure, 1, 1).is_none() => retried(""),
        Fault::Down | Fault::Message | Fault::Unsendable => match policy.ends(failure, 1, 1) {
            None => retried(""),
            Some(reason) => {
                let end = match &route.dead_letter {
                    Some(letters) => format!("would become a dead letter on {}", letters.subject.as_str()),
                    None => "would be dropped".to_owned(),
                };
                (Fate::Dead, format!("{end}: {label} ({})", reason.label()))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Sources};

    fn route(settings: &[(&str, &str)]) -> Route {
        let set = [("webhook.url", "https://example.com/")].into_iter().chain(settings.iter().copied());
        let flag =
            |(key, value): (&str, &str)| (format!("routes.a.{key}"), value.to_owned(), "--set".to_owned());
        let sources = Sources { flags: set.map(flag).collect(), ..Sources::default() };
        config::load(sources).unwrap().routes.remove(0)
    }

    #[test]
    fn each_end_has_its_words() {
        let plain = route(&[]);
        let letters = route(&[("dead_letter.subject", "dead"), ("retry.statuses", "[\"404\"]")]);
        let once = route(&[("retry.attempts", "1")]);
        let failed = |failure| Attempt::failed(failure);
        for (route, attempt, fate, words) in [
            (&plain, Attempt::delivered(204), Fate::Done, "delivered: 204"),
            (&plain, failed(Failure::Status(503)), Fate::Retried, "would be tried again: 503"),
            (&plain, failed(Failure::Timeout), Fate::Retried, "would be tried again: timeout"),
            (&once, failed(Failure::Timeout), Fate::Dead, "would be dropped: timeout (attempts_exhausted)"),
            (&plain, failed(Failure::Status(400)), Fate::Dead, "would be dropped: 400 (rejected)"),
            (
                &letters,
                failed(Failure::Status(400)),
                Fate::Dead,
                "would become a dead letter on dead: 400 (rejected)",
            ),
            (&letters, failed(Failure::Status(404)), Fate::Retried, "would be tried again: 404"),
        ] {
            assert_eq!(verdict(&attempt, route), (fate, words.to_owned()), "{attempt:?}");
        }
        let (fate, words) = verdict(&failed(Failure::Status(401)), &plain);
        assert!(fate == Fate::Retried && words.contains("until others are delivered"), "{words}");
    }

    #[test]
    fn a_wait_that_is_asked_for_is_bounded_as_the_daemon_does_it() {
        let route = route(&[("retry.max", "10s")]);
        let attempt = Attempt::Failed {
            failure: Failure::Status(429),
            retry_after: Some(Duration::from_secs(60)),
            excerpt: None,
            cause: Some("busy".into()),
            content: None,
        };
        let words = "would be tried again: 429, and the whole route would wait 10s (busy)";
        assert_eq!(verdict(&attempt, &route), (Fate::Retried, words.to_owned()));
    }
}
