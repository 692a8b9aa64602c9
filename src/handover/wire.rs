//! A message as it travels from one replica to another: its payload as the payload, the rest in headers. Both sides are
//! here, since replicas of two versions have to understand each other during an update. No I/O.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use percent_encoding::percent_decode;

use crate::{
    base::clock::Time,
    config::{Route, RouteName},
    message::{
        FailedAttempt, HeaderBlock, Headers, Id, Message, header_names::nats as names, header_safe,
        header_safe_bytes, outcome::Failure, reply::is_answerable,
    },
};

/// What a message that is handed over waits for its next attempt at most.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// Everything of `message` but its payload, to be handed over at `now` to whoever has `route`.
pub fn pack(message: &Message, route: &Route, now: Time) -> HeaderBlock {
    let mut headers = HeaderBlock::new();
    headers.put(names::ROUTE, route.name.as_str());
    headers.put(names::ROUTE_SUBJECT, &*header_safe(route.subject.as_str()));
    headers.put(names::ID, message.id.to_string());
    headers.put(names::SUBJECT, &*header_safe(&message.subject));
    headers.put(names::ATTEMPTS, message.attempts.to_string());
    // An age and not a time: the clock of the other replica began at another time, and wall clocks differ.
    headers.put(names::AGE, now.since(message.received).as_millis().to_string());
    if let Some(failure) = message.last_failure {
        headers.put(names::LAST_FAILURE, &*failure.label());
    }
    let due = message.failed_attempt.as_ref().map(|failed| failed.due.since(now).as_millis());
    if let Some(due) = due.filter(|due| *due > 0) {
        headers.put(names::DUE, due.to_string());
    }
    if let Some(reply) = &message.reply {
        headers.put(names::REPLY, &*header_safe(reply));
    }
    let publishers = message.headers.to_parcel();
    if !publishers.is_empty() {
        headers.put(names::HEADERS, &*header_safe_bytes(&publishers));
    }
    headers
}

/// What was sent as an offer, by anybody who may.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The headers, which say what it is.
    pub headers: Headers,
    /// The message's payload.
    pub payload: Bytes,
}

impl Parcel {
    /// The name of the route that it is for, where it is an offer.
    pub fn route_name(&self) -> Option<RouteName> {
        self.value(names::ROUTE)?.parse().ok()
    }

    /// Whether it is for `route`: by name and subject, since another configuration may have another route of that name.
    pub fn is_for(&self, route: &Route) -> bool {
        self.value(names::ROUTE).as_deref() == Some(route.name.as_str())
            && self.decoded(names::ROUTE_SUBJECT).as_deref() == Some(route.subject.as_str())
    }

    /// The message in it, which arrived at `now`. None where its id or its subject is missing: without those it is none of
    /// ours. The rest is taken as far as it can be read: another version may write more, or otherwise.
    pub fn unpack(self, now: Time) -> Option<Message> {
        let id = Id::known(&self.value(names::ID)?)?;
        let subject = self.decoded(names::SUBJECT).filter(|subject| !subject.is_empty())?;
        let headers = self
            .headers
            .get_bytes(names::HEADERS)
            .map_or_else(Headers::default, |parcel| Headers::from_parcel(&Cow::from(percent_decode(parcel))));
        let age = Duration::from_millis(self.number(names::AGE));
        // Of too many it is as many as can be counted: a message whose attempts begin anew would go on for ever.
        let attempts = u32::try_from(self.number(names::ATTEMPTS)).unwrap_or(u32::MAX);
        let last_failure = self.value(names::LAST_FAILURE).and_then(|label| Failure::labelled(&label));
        // No version writes more than a day: no wait may be longer.
        let wait = Duration::from_millis(self.number(names::DUE)).min(LONGEST_WAIT);
        let failed_attempt = (!wait.is_zero()).then(|| {
            Box::new(FailedAttempt { at: now, due: now + wait, failures: 1, ..FailedAttempt::default() })
        });
        let reply = self.decoded(names::REPLY).filter(|reply| is_answerable(reply)).map(Into::into);
        let message = Message::new(id, subject.into(), headers, self.payload, now.before(age));
        Some(Message { attempts, last_failure, failed_attempt, reply, ..message })
    }

    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        self.headers.get(name)
    }

    /// The number under `name`, as large as it can be; 0 where there is none.
    fn number(&self, name: &str) -> u64 {
        let digits = self.value(name);
        let digits =
            digits.filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
        digits.map_or(0, |digits| digits.parse().unwrap_or(u64::MAX))
    }

    /// The text under `name`; bytes that are no text are replaced.
    fn decoded(&self, name: &str) -> Option<String> {
        let value = self.headers.get_bytes(name)?;
        Some(percent_decode(value).decode_utf8_lossy().into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Sources, load},
        message::batch::Batch,
        route::schedule::testing::at,
    };

    fn route(subject: &str) -> Route {
        let env = [("WEBHOOK_URL", "http://127.0.0.1/"), ("NATS_SUBJECT", subject)];
        let env = env.map(|(name, value)| (name.into(), value.into())).to_vec();
        load(Sources { env, ..Sources::default() }).unwrap().routes.remove(0)
    }

    fn message() -> Message {
        let headers = [("X-Tenant", "Zoë %41"), ("Nats-Expected-Stream", "a"), ("empty", ""), ("x", "a:b")];
        let message = Message::new(
            Id::given("order 7%"),
            "todos.Zoë%20".into(),
            Headers::new(headers),
            vec![0, 10, 255].into(),
            at(100),
        );
        Message { attempts: 3, last_failure: Some(Failure::Status(503)), ..message }
    }

    fn offer(message: &Message, route: &Route, now: Time) -> Parcel {
        let lines = Bytes::copy_from_slice(pack(message, route, now).lines());
        Parcel { headers: Headers::from_lines(lines), payload: message.payload.clone() }
    }

    /// `parcel` with this header in the place of its own.
    fn with(parcel: &Parcel, name: &str, value: &str) -> Parcel {
        let lines = [format!("{name}: {value}\r\n").as_bytes(), parcel.headers.as_bytes()].concat();
        Parcel { headers: Headers::from_lines(lines.into()), ..parcel.clone() }
    }

    #[test]
    fn everything_arrives_as_it_was() {
        let (route, sent) = (route("todos.*"), message());
        let offer = offer(&sent, &route, at(160));
        assert!(offer.is_for(&route));
        // The clock of the receiver counts from another start, so the times have nothing to do with each other.
        let got = offer.unpack(at(1000)).unwrap();
        assert_eq!((got.id, got.subject, got.headers), (sent.id, sent.subject, sent.headers));
        assert_eq!((got.payload, got.attempts), (sent.payload, 3));
        assert_eq!((got.received, got.last_failure), (at(940), Some(Failure::Status(503))));
    }

    #[test]
    fn who_waits_for_an_answer_is_known_to_the_next_replica() {
        let route = route("todos.*");
        let sent = Message { reply: Some("_INBOX.réponse%.1".into()), ..message() };
        let offered = offer(&sent, &route, at(160));
        assert_eq!(offered.clone().unpack(at(1000)).unwrap().reply, sent.reply);
        let forged = with(&offered, names::REPLY, "$JS.API.STREAM.DELETE.A");
        assert_eq!(forged.unpack(at(1000)).unwrap().reply, None);
    }

    #[test]
    fn a_message_that_is_new_and_bare_arrives_too() {
        let sent = Message::new(Id::fresh(), "a".into(), Headers::default(), "x".into(), at(7));
        let got = offer(&sent, &route("a"), at(7)).unpack(at(9)).unwrap();
        assert_eq!((got.id.to_string(), got.attempts), (sent.id.to_string(), 0));
        assert_eq!((got.received, got.last_failure, got.headers), (at(9), None, Headers::default()));
    }

    #[test]
    fn every_failure_arrives() {
        let failures = [Failure::Status(408), Failure::Status(599)].into_iter().chain(Failure::TRANSPORT);
        for failure in failures {
            assert_eq!(Failure::labelled(&failure.label()), Some(failure));
        }
    }

    #[test]
    fn another_subject_is_another_route() {
        let offer = offer(&message(), &route("todos.*"), at(160));
        assert!(!offer.is_for(&route("todos.>")));
    }

    /// Offers as the versions before this one have written them: their replicas are there during an update. A change to what
    /// is written adds an offer here, and none is ever changed.
    const FORMER: [&str; 3] = [
        "Broadcaster-Route: default\r\n\
         Broadcaster-Route-Subject: todos.*\r\n\
         Broadcaster-Id: order%207%25\r\n\
         Broadcaster-Subject: todos.Zo%C3%AB%2520\r\n\
         Broadcaster-Attempts: 3\r\n\
         Broadcaster-Age: 60000\r\n\
         Broadcaster-Last-Failure: 503\r\n\
         Broadcaster-Headers: X-Tenant:Zo%C3%AB%20%2541%0ANats-Expected-Stream:a%0Aempty:%0Ax:a:b%0A\r\n",
        // With a name that can't be one of a header, which is left out by now.
        "Broadcaster-Route: default\r\n\
         Broadcaster-Route-Subject: todos.*\r\n\
         Broadcaster-Id: order%207%25\r\n\
         Broadcaster-Subject: todos.Zo%C3%AB%2520\r\n\
         Broadcaster-Attempts: 3\r\n\
         Broadcaster-Age: 60000\r\n\
         Broadcaster-Last-Failure: 503\r\n\
         Broadcaster-Headers: X-Tenant:Zo%C3%AB%20%2541%0ANats-Expected-Stream:a%0Aodd%20name:%0Ax:a:b%0A\r\n",
        "Broadcaster-Route: default\r\n\
         Broadcaster-Route-Subject: todos.*\r\n\
         Broadcaster-Id: 0198c0de-0000-7000-8000-000000000001\r\n\
         Broadcaster-Subject: todos.a\r\n\
         Broadcaster-Attempts: 0\r\n\
         Broadcaster-Age: 0\r\n",
    ];

    fn owned((name, value): (&str, Cow<'_, str>)) -> (String, String) {
        (name.to_owned(), value.into_owned())
    }

    fn former(head: &'static str) -> Parcel {
        let lines = Bytes::from_static(head.as_bytes());
        Parcel { headers: Headers::from_lines(lines), payload: message().payload }
    }

    #[test]
    fn what_former_versions_wrote_is_read_and_still_written() {
        let route = route("todos.*");
        let [full, odd, bare] = FORMER.map(former);
        let packed = pack(&message(), &route, at(160));
        assert_eq!(full.headers.as_bytes(), packed.lines(), "this version writes something else");
        assert!(full.is_for(&route) && bare.is_for(&route));
        assert_eq!(full.route_name().unwrap().as_str(), "default");
        let got = full.unpack(at(1000)).unwrap();
        assert_eq!(
            (&got.id, &got.subject, &got.headers),
            (&message().id, &message().subject, &message().headers)
        );
        assert_eq!((got.attempts, got.received), (3, at(940)));
        assert_eq!(got.last_failure, Some(Failure::Status(503)));
        let left: Vec<_> = message().headers.iter().filter(|(name, _)| *name != "empty").map(owned).collect();
        assert_eq!(odd.unpack(at(1000)).unwrap().headers.iter().map(owned).collect::<Vec<_>>(), left);
        let got = bare.unpack(at(1000)).unwrap();
        assert_eq!((&*got.id.to_string(), got.attempts), ("0198c0de-0000-7000-8000-000000000001", 0));
        assert_eq!((got.received, got.last_failure, got.headers), (at(1000), None, Headers::default()));
    }

    #[test]
    fn a_retry_that_is_far_off_is_handed_over_with_its_time() {
        let route = route("todos.*");
        let failed = FailedAttempt { at: at(150), due: at(205), failures: 2, ..FailedAttempt::default() };
        let waiting = Message { failed_attempt: Some(Box::new(failed)), ..message() };
        let offered = offer(&waiting, &route, at(160));
        assert_eq!(offered.value(names::DUE).as_deref(), Some("45000"));
        let got = offered.unpack(at(1000)).unwrap();
        assert_eq!(got.failed_attempt.map(|failed| failed.due), Some(at(1045)));
        let overdue = offer(&waiting, &route, at(300));
        assert_eq!(overdue.value(names::DUE), None);
        assert_eq!(overdue.unpack(at(1)).unwrap().failed_attempt, None);
    }

    #[test]
    fn what_another_version_may_write_is_taken_as_far_as_it_can_be_read() {
        let good = offer(&message(), &route("todos.*"), at(160));
        let with = |name: &str, value: &str| {
            let got = with(&good, name, value).unpack(at(160));
            got.unwrap_or_else(|| panic!("{name}: {value:?} is refused"))
        };
        for label in ["bad luck", "quota", "99999", ""] {
            assert_eq!(with(names::LAST_FAILURE, label).last_failure, None, "{label}");
        }
        for (attempts, read) in
            [("4294967295", u32::MAX), ("99999999999999999999999", u32::MAX), ("", 0), ("-1", 0), (" 7", 7)]
        {
            let mut batch = Batch::from(with(names::ATTEMPTS, attempts));
            assert_eq!(batch.first().attempts, read, "{attempts}");
            batch.begin_attempt();
            assert_eq!(batch.first().attempts, read.saturating_add(1), "{attempts}");
        }
        for (age, received) in [("18446744073709551615", Time::START), ("9e99", at(160)), ("-5", at(160))] {
            assert_eq!(with(names::AGE, age).received, received, "{age}");
        }
        assert_eq!(with(names::HEADERS, "a:%FF%0Ano colon%0A%").headers.get_bytes("a"), Some(&[0xff][..]));
        assert_eq!(&*with(names::SUBJECT, "todos.%FF").subject, "todos.\u{FFFD}");
        assert_eq!(with("Broadcaster-Of-Tomorrow", "1").attempts, 3);
    }

    #[test]
    fn what_is_no_parcel_is_no_message() {
        let good = offer(&message(), &route("a"), at(160));
        for (name, value) in [(names::ID, ""), (names::ID, "a b"), (names::SUBJECT, "")] {
            assert!(with(&good, name, value).unpack(at(160)).is_none(), "{name}: {value:?}");
        }
        assert!(Parcel { headers: Headers::default(), ..good }.unpack(at(160)).is_none());
    }
}
