//! A message as it travels from one replica to another: its payload as the payload, the rest in headers. Both sides are
//! here, since replicas of two versions have to understand each other during an update. No I/O.

use std::time::Duration;

use async_nats::{HeaderMap, Message as Received};
use percent_encoding::percent_decode_str;

use crate::{
    base::clock::Time,
    config::{Route, RouteName},
    message::{Headers, Id, Message, header_names::nats as names, header_safe, outcome::Failure},
};

/// Everything of `message` but its payload, to be handed over at `now` to whoever has `route`.
pub fn pack(message: &Message, route: &Route, now: Time) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(names::ROUTE, route.name.as_str());
    headers.insert(names::ROUTE_SUBJECT, &*header_safe(route.subject.as_str()));
    headers.insert(names::ID, message.id.to_string());
    headers.insert(names::SUBJECT, &*header_safe(&message.subject));
    headers.insert(names::ATTEMPTS, message.attempts.to_string());
    // An age and not a time: the clock of the other replica began at another time, and wall clocks differ.
    headers.insert(names::AGE, now.since(message.received).as_millis().to_string());
    if let Some(failure) = message.last_failure {
        headers.insert(names::LAST_FAILURE, &*failure.label());
    }
    let publishers = message.headers.to_string();
    if !publishers.is_empty() {
        headers.insert(names::HEADERS, &*header_safe(&publishers));
    }
    headers
}

/// The name of the route that `offer` is for, where it is one.
pub fn route_name(offer: &Received) -> Option<RouteName> {
    value(offer, names::ROUTE)?.parse().ok()
}

/// Whether `offer` is for `route`: by name and subject, since another configuration may have another route of that
/// name.
pub fn is_for(offer: &Received, route: &Route) -> bool {
    value(offer, names::ROUTE) == Some(route.name.as_str())
        && decoded(offer, names::ROUTE_SUBJECT).as_deref() == Some(route.subject.as_str())
}

/// The message in `offer`, which arrived at `now`. None where a part is missing or makes no sense: anybody may publish
/// to that subject.
pub fn unpack(offer: Received, now: Time) -> Option<Message> {
    let id = Id::known(value(&offer, names::ID)?)?;
    let subject = decoded(&offer, names::SUBJECT)?;
    let headers = match value(&offer, names::HEADERS) {
        None => Headers::default(),
        Some(_) => decoded(&offer, names::HEADERS)?.parse().ok()?,
    };
    let age = Duration::from_millis(value(&offer, names::AGE)?.parse().ok()?);
    let attempts = value(&offer, names::ATTEMPTS)?.parse().ok()?;
    let last_failure = match value(&offer, names::LAST_FAILURE) {
        None => None,
        Some(label) => Some(Failure::labelled(label)?),
    };
    let message = Message::new(id, subject.into(), headers, offer.payload, now.before(age));
    Some(Message { attempts, last_failure, ..message })
}

fn value<'a>(offer: &'a Received, name: &str) -> Option<&'a str> {
    offer.headers.as_ref()?.get(name).map(async_nats::HeaderValue::as_str)
}

fn decoded(offer: &Received, name: &str) -> Option<String> {
    let text = percent_decode_str(value(offer, name)?).decode_utf8().ok()?;
    Some(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Sources, load},
        route::schedule::testing::at,
    };

    fn route(subject: &str) -> Route {
        let env = [("WEBHOOK_URL", "http://127.0.0.1/"), ("NATS_SUBJECT", subject)];
        let env = env.map(|(name, value)| (name.into(), value.into())).to_vec();
        load(Sources { env, ..Sources::default() }).unwrap().routes.remove(0)
    }

    fn message() -> Message {
        let headers =
            [("X-Tenant", "Zoë %41"), ("Nats-Expected-Stream", "a"), ("odd name", ""), ("x", "a:b")];
        let message = Message::new(
            Id::given("order 7%"),
            "todos.Zoë%20".into(),
            Headers::new(headers.into_iter()),
            vec![0, 10, 255].into(),
            at(100),
        );
        Message { attempts: 3, last_failure: Some(Failure::Status(503)), ..message }
    }

    fn offer(message: &Message, route: &Route, now: Time) -> Received {
        Received {
            subject: "broadcaster.handover.workers".into(),
            reply: None,
            payload: message.payload.clone(),
            headers: Some(pack(message, route, now)),
            status: None,
            description: None,
            length: 0,
        }
    }

    #[test]
    fn everything_arrives_as_it_was() {
        let (route, sent) = (route("todos.*"), message());
        let offer = offer(&sent, &route, at(160));
        assert!(is_for(&offer, &route));
        // The clock of the receiver counts from another start, so the times have nothing to do with each other.
        let got = unpack(offer, at(1000)).unwrap();
        assert_eq!((got.id, got.subject, got.headers), (sent.id, sent.subject, sent.headers));
        assert_eq!((got.payload, got.attempts), (sent.payload, 3));
        assert_eq!((got.received, got.last_failure), (at(940), Some(Failure::Status(503))));
    }

    #[test]
    fn a_message_that_is_new_and_bare_arrives_too() {
        let sent = Message::new(Id::fresh(), "a".into(), Headers::default(), "x".into(), at(7));
        let got = unpack(offer(&sent, &route("a"), at(7)), at(9)).unwrap();
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
        assert!(!is_for(&offer, &route("todos.>")));
    }

    #[test]
    fn what_is_no_parcel_is_no_message() {
        let good = offer(&message(), &route("a"), at(160));
        let bad = [
            (names::ID, ""),
            (names::ID, "a b"),
            (names::SUBJECT, "%FF"),
            (names::ATTEMPTS, "-1"),
            (names::AGE, "soon"),
            (names::LAST_FAILURE, "bad luck"),
            (names::HEADERS, "%FF"),
        ];
        for (name, value) in bad {
            let mut offer = good.clone();
            offer.headers.as_mut().unwrap().insert(name, value);
            assert!(unpack(offer, at(160)).is_none(), "{name}: {value:?}");
        }
        assert!(unpack(Received { headers: None, ..good }, at(160)).is_none());
    }
}
