//! Letters of a stream that is made up, read as those of a real one are.

use std::{cell::Cell, collections::BTreeMap, rc::Rc, time::Duration};

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::{Orphans, Selected, Selection, Store, StoreError, Walk};
use crate::{
    base::runtime,
    config::{Config, Sources, load},
    nats::jetstream::{Heard, Hearing, JetStream, Unanswered},
};

/// A stream that keeps the payloads of these sequences.
struct Stream {
    letters: BTreeMap<u64, &'static str>,
    last: u64,
    /// How many questions it does not answer from now on.
    silent_for: Cell<u32>,
    asked: Cell<u32>,
}

impl Stream {
    fn of(sequences: impl IntoIterator<Item = u64>) -> Rc<Self> {
        let letters: BTreeMap<_, _> = sequences.into_iter().map(|sequence| (sequence, "x")).collect();
        let last = letters.keys().last().copied().unwrap_or_default();
        Rc::new(Self { letters, last, silent_for: Cell::default(), asked: Cell::default() })
    }

    fn answer(&self, request: &str, question: &Value) -> Value {
        match request {
            "STREAM.NAMES" => json!({ "streams": ["DEAD"] }),
            "STREAM.INFO.DEAD" => json!({ "config": {}, "state": { "last_seq": self.last } }),
            "STREAM.MSG.GET.DEAD" => {
                let from = question["seq"].as_u64().unwrap_or_default();
                let is_exact = question["next_by_subj"].is_null();
                let found =
                    self.letters.range(from..).next().filter(|(found, _)| !is_exact || **found == from);
                match found {
                    Some((sequence, payload)) => json!({ "message": {
                        "subject": "broadcaster.dead.default", "seq": sequence, "time": "2026-11-23T12:00:00Z",
                        "data": BASE64.encode(payload.as_bytes()),
                    } }),
                    None => json!({ "error": { "err_code": 10_037, "description": "no message found" } }),
                }
            }
            _ => json!({ "error": { "err_code": 1, "description": "not here" } }),
        }
    }
}

impl JetStream for Stream {
    fn ask<'a>(&'a self, request: &'a str, question: &'a [u8], _patience: Duration) -> Hearing<'a> {
        Box::pin(async move {
            self.asked.set(self.asked.get() + 1);
            if self.silent_for.get() > 0 {
                self.silent_for.set(self.silent_for.get() - 1);
                return Err(Unanswered::Silence);
            }
            let question = serde_json::from_slice(question).unwrap();
            Ok(Heard::Answer(self.answer(request, &question).to_string().into()))
        })
    }
}

fn config() -> Config {
    let flags = [("webhook.url", "http://a/"), ("dead_letter.subject", "broadcaster.dead.default")];
    let flag =
        |(key, value): (&str, &str)| (format!("routes.default.{key}"), value.to_owned(), "--set".to_owned());
    load(Sources { flags: flags.map(flag).into(), ..Sources::default() }).unwrap()
}

async fn open(stream: &Rc<Stream>) -> Store {
    let subject = "broadcaster.dead.default".parse().unwrap();
    Store::open(Rc::clone(stream) as _, &subject, Duration::ZERO).await.unwrap()
}

fn walk(after: u64, selection: Selection) -> Walk {
    let config = config();
    Walk::behind(after, Selected::new(&config.routes, &config.routes[0], selection, Orphans::Included))
}

async fn sequences(store: &Store, mut walk: Walk) -> Vec<u64> {
    let mut sequences = Vec::new();
    while let Some(letter) = walk.next(store).await.unwrap() {
        assert_eq!((letter.size, letter.payload.len()), (1, 0), "a payload is kept");
        sequences.push(letter.sequence);
    }
    sequences
}

fn run(test: impl Future<Output = ()>) {
    runtime::local().unwrap().block_on(test);
}

#[test]
fn a_walk_finds_each_letter_once_wherever_they_lie() {
    run(async {
        let patterns: [(&str, Vec<u64>); 4] = [
            ("none", vec![]),
            ("close", (1..=500).collect()),
            ("far", (1..=40).map(|n| n * 1_000).collect()),
            ("both", (1..=100).chain((2..=30).map(|n| n * n * n)).chain(50_000..50_100).collect()),
        ];
        for (name, mut wanted) in patterns {
            wanted.sort_unstable();
            wanted.dedup();
            let stream = Stream::of(wanted.clone());
            let store = open(&stream).await;
            assert_eq!(sequences(&store, walk(0, Selection::default())).await, wanted, "{name}");
            let behind: Vec<_> = wanted.iter().copied().filter(|sequence| *sequence > 77).collect();
            assert_eq!(sequences(&store, walk(77, Selection::default())).await, behind, "{name}");
        }
    });
}

#[test]
fn letters_that_are_named_are_read_alone() {
    run(async {
        let stream = Stream::of(1..=1_000);
        let store = open(&stream).await;
        let before = stream.asked.get();
        let named = Selection { sequences: Some([3, 999, 5_000].into()), ..Selection::default() };
        assert_eq!(sequences(&store, walk(0, named.clone())).await, [3, 999]);
        assert_eq!(sequences(&store, walk(3, named)).await, [999]);
        assert_eq!(stream.asked.get() - before, 5);
    });
}

#[test]
fn what_comes_after_the_beginning_is_left_for_another_walk() {
    run(async {
        let mut stream = Stream { last: 3, ..Rc::into_inner(Stream::of(1..=10)).unwrap() };
        stream.letters.insert(11, "x");
        let stream = Rc::new(stream);
        let store = open(&stream).await;
        assert_eq!(sequences(&store, walk(0, Selection::default())).await, [1, 2, 3]);
    });
}

#[test]
fn what_is_not_answered_is_asked_again_by_whoever_has_begun_something() {
    run(async {
        let stream = Stream::of([1]);
        let store = open(&stream).await;
        stream.silent_for.set(3);
        assert!(matches!(store.get(1).await, Err(StoreError::Unanswered { .. })));
        let store = store.persistent();
        assert!(store.get(1).await.unwrap().is_some());
        assert_eq!(stream.silent_for.get(), 0);
    });
}
