use serde_json::{Value, json};

use super::*;
use crate::config::{Sources, load};

const PAYLOAD: usize = 1 << 20;

fn route(settings: &[(&str, &str)]) -> config::Route {
    let base = [
        ("webhook.url", "http://a/"),
        ("subject", "todos.events"),
        ("jetstream.stream", "TODOS"),
        ("jetstream.create", "true"),
    ];
    let flags = base.iter().chain(settings);
    let flags =
        flags.map(|(key, value)| (format!("routes.a.{key}"), (*value).to_owned(), "--set".to_owned()));
    let config = load(Sources { flags: flags.collect(), ..Sources::default() }).unwrap();
    config.routes.into_iter().next().unwrap()
}

/// What JetStream says of a stream that is as it should be, but for `config`.
fn stream(config: &Value) -> stream::Info {
    let mut info = json!({
        "config": {
            "name": "TODOS", "subjects": ["todos.>"], "retention": "limits", "max_age": 0, "storage": "file",
            "discard": "old", "num_replicas": 1,
        },
        "created": "2026-01-01T00:00:00Z",
        "state": {
            "messages": 0, "bytes": 0, "first_seq": 0, "first_ts": "0001-01-01T00:00:00Z", "last_seq": 0,
            "last_ts": "0001-01-01T00:00:00Z", "consumer_count": 1,
        },
    });
    info["config"].as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    serde_json::from_value(info).unwrap()
}

fn consumer(config: &Value) -> consumer::Info {
    let mut info = json!({
        "stream_name": "TODOS", "name": "broadcaster-a", "created": "2026-01-01T00:00:00Z",
        "config": {
            "durable_name": "broadcaster-a", "deliver_policy": "all", "ack_policy": "explicit",
            "ack_wait": 30_000_000_000_u64, "max_deliver": -1, "max_ack_pending": 10_000,
            "filter_subject": "todos.events", "replay_policy": "instant",
        },
        "delivered": { "consumer_seq": 0, "stream_seq": 0 }, "ack_floor": { "consumer_seq": 0, "stream_seq": 0 },
        "num_ack_pending": 0, "num_redelivered": 0, "num_waiting": 0, "num_pending": 0,
    });
    info["config"].as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    serde_json::from_value(info).unwrap()
}

fn found(findings: &[Finding]) -> Vec<(Severity, &str)> {
    findings.iter().map(|finding| (finding.severity, finding.text.as_str())).collect()
}

/// The one thing that is wrong with a consumer whose configuration has `odd` in it.
fn only_fault(stream_odd: &Value, odd: &Value, settings: &[(&str, &str)]) -> Finding {
    let findings = judge(&stream(stream_odd), &consumer(odd), &route(settings), PAYLOAD);
    assert_eq!(findings.len(), 1, "{odd}: {:#?}", found(&findings));
    findings.into_iter().next().unwrap()
}

#[test]
fn one_that_is_as_it_should_be_has_no_faults() {
    assert_eq!(judge(&stream(&json!({})), &consumer(&json!({})), &route(&[]), PAYLOAD), []);
    let wide = route(&[("subject", "todos.>")]);
    let filters = json!({ "filter_subject": "", "filter_subjects": ["todos.events", "todos.done.*"] });
    assert_eq!(judge(&stream(&json!({})), &consumer(&filters), &wide, PAYLOAD), []);
    assert_eq!(judge(&stream(&json!({})), &consumer(&json!({ "filter_subject": "" })), &wide, PAYLOAD), []);
    // One that has its messages from another stream can't be judged by its own subjects.
    let mirror = json!({ "subjects": [], "mirror": { "name": "OTHER" } });
    assert_eq!(judge(&stream(&mirror), &consumer(&json!({})), &route(&[]), PAYLOAD), []);
}

#[test]
fn what_makes_delivery_impossible_or_pointless_is_refused() {
    for (odd, words) in [
        (json!({ "deliver_subject": "a" }), "push consumer"),
        (json!({ "ack_policy": "none" }), "another ack policy"),
        (json!({ "ack_policy": "all" }), "another ack policy"),
        (json!({ "headers_only": true }), "headers without bodies"),
        (json!({ "priority_policy": "overflow", "priority_groups": ["jobs"] }), "priority groups (jobs)"),
        (json!({ "priority_policy": "pinned_client", "priority_groups": ["x"] }), "priority groups (x)"),
    ] {
        let fault = only_fault(&json!({}), &odd, &[]);
        assert!(fault.severity == Severity::Unusable && fault.text.contains(words), "{fault:?}");
    }
    let other =
        judge(&stream(&json!({ "subjects": ["orders.*"] })), &consumer(&json!({})), &route(&[]), PAYLOAD);
    assert!(other[0].text.contains("keeps no subject that todos.events matches"), "{other:#?}");
    assert!(other.iter().all(|fault| fault.severity == Severity::Unusable));
}

#[test]
fn letters_that_would_come_back_are_refused() {
    let letters =
        [("subject", "todos.>"), ("dead_letter.subject", "dead.todos"), ("dead_letter.stream", "TODOS")];
    let kept = json!({ "subjects": ["todos.>", "dead.>"] });
    let fault = judge(&stream(&kept), &consumer(&json!({ "filter_subject": "" })), &route(&letters), PAYLOAD);
    let unusable: Vec<_> = fault.iter().filter(|fault| fault.severity == Severity::Unusable).collect();
    assert!(unusable.len() == 1 && unusable[0].text.contains("it delivers dead.todos"), "{fault:#?}");
    let filtered = consumer(&json!({ "filter_subject": "todos.>" }));
    assert_eq!(judge(&stream(&kept), &filtered, &route(&letters), PAYLOAD), []);
}

#[test]
fn what_can_be_lived_with_is_warned_of() {
    for (odd, words) in [
        (json!({ "max_deliver": 5 }), "max_deliver is 5, expected -1"),
        (json!({ "filter_subject": "todos.>" }), "it filters by todos.>, not only"),
        (json!({ "filter_subject": "" }), "no filter, and the stream keeps todos.>"),
        (json!({ "backoff": [1_000_000_000] }), "backoff"),
        (json!({ "inactive_threshold": 60_000_000_000_u64 }), "inactive_threshold is 60s"),
        (json!({ "replay_policy": "original" }), "replay_policy is original"),
        (json!({ "mem_storage": true }), "in memory"),
        (json!({ "max_bytes": 1024 }), "max_bytes is 1024"),
        (json!({ "ack_wait": 10_000_000_000_u64 }), "ack_wait is 10s, and jetstream.ack_wait 30s"),
        (json!({ "max_ack_pending": 1_000 }), "max_ack_pending is 1000, and jetstream.max_ack_pending 10000"),
        (json!({ "deliver_policy": "new" }), "deliver_policy is New"),
    ] {
        let fault = only_fault(&json!({}), &odd, &[]);
        assert!(fault.severity == Severity::Warning && fault.text.contains(words), "{words}: {fault:?}");
    }
    let mut paused = consumer(&json!({}));
    (paused.paused, paused.pause_remaining) = (true, Some(Duration::from_secs(90)));
    let fault = judge(&stream(&json!({})), &paused, &route(&[]), PAYLOAD);
    assert!(fault[0].text.contains("paused: nothing comes for another 90 s"), "{fault:?}");
    let small = only_fault(&json!({}), &json!({}), &[("queue.bytes", "512KiB")]);
    assert!(small.text.contains("queue.bytes is 524288"), "{small:?}");
    let few =
        only_fault(&json!({}), &json!({ "max_ack_pending": 10 }), &[("jetstream.max_ack_pending", "10")]);
    assert!(few.text.contains("less than the route's concurrency of 64"), "{few:?}");
}

#[test]
fn who_makes_no_consumer_is_not_told_of_settings_for_one() {
    let odd = consumer(&json!({ "ack_wait": 10_000_000_000_u64, "deliver_policy": "new" }));
    let route = route(&[("jetstream.create", "false")]);
    assert_eq!(judge(&stream(&json!({})), &odd, &route, PAYLOAD), []);
}

#[test]
fn one_that_is_made_anew_goes_on_where_the_former_one_ended() {
    let route = route(&[("jetstream.deliver_policy", "new")]);
    let jetstream = route.jetstream.as_ref().unwrap();
    let first = made(jetstream, &route.subject, None);
    assert_eq!(first.deliver_policy, consumer::DeliverPolicy::New);
    let again = made(jetstream, &route.subject, Some(41));
    assert_eq!(again.deliver_policy, consumer::DeliverPolicy::ByStartSequence { start_sequence: 42 });
    let mut info = consumer(&json!({}));
    for config in [first, again] {
        info.config = config;
        assert_eq!(judge(&stream(&json!({})), &info, &route, PAYLOAD), []);
    }
}
