use std::cell::RefCell;

use super::*;
use crate::{
    config::{Sources, load},
    message::Id,
    route::schedule::testing::at,
};

/// What was published: the subject, the headers, the body.
type Published = (String, HeaderBlock, Vec<u8>);

/// A way out that takes bodies of so many bytes.
struct Out {
    largest: usize,
    published: RefCell<Vec<Published>>,
}

impl Publish for Out {
    fn publish(&self, subject: &str, headers: &HeaderBlock, body: &[u8]) -> Publication {
        if body.len() > self.largest {
            return Publication::TooLarge;
        }
        self.published.borrow_mut().push((subject.to_owned(), headers.clone(), body.to_owned()));
        Publication::Sent
    }
}

fn answers(settings: &str) -> (Answers, Rc<Out>, Arc<RouteStats>) {
    let flags = [("webhook.url", "http://a/"), (settings, "answers.all")].map(|(key, value)| {
        let value = if key == "answer.reply" { "true" } else { value };
        (format!("routes.todos.{key}"), value.to_owned(), "--set".to_owned())
    });
    let config = load(Sources { flags: flags.to_vec(), ..Sources::default() }).unwrap();
    let route = config.routes.into_iter().next().unwrap();
    let out = Rc::new(Out { largest: 1000, published: RefCell::default() });
    let stats = Arc::<RouteStats>::default();
    let way = Rc::clone(&out) as Rc<dyn Publish>;
    (Answers::new(route.name, route.answer.unwrap(), way, Arc::clone(&stats)), out, stats)
}

fn message(subject: &str, id: &str) -> Message {
    let message = Message::new(Id::given(id), subject.into(), Default::default(), "x".into(), at(1));
    Message { reply: Some("_INBOX.a".into()), attempts: 1, ..message }
}

fn content(status: u16, content_type: &[u8], body: &[u8]) -> Content {
    let content_type = Some(content_type.into());
    Content { status, content_type, body: body.to_owned(), ..Content::default() }
}

/// The names and values of the headers that were published.
fn fields(headers: &HeaderBlock) -> Vec<(String, String)> {
    let text = String::from_utf8(headers.lines().to_vec()).expect("headers are text");
    let fields = text.split_terminator("\r\n").map(|line| {
        let (name, value) = line.split_once(": ").expect("each line is a field");
        assert!(!value.contains(['\r', '\n']), "{value:?}");
        (name.to_owned(), value.to_owned())
    });
    fields.collect()
}

fn value(headers: &HeaderBlock, name: &str) -> Option<String> {
    fields(headers).into_iter().find(|(found, _)| found == name).map(|(_, value)| value)
}

#[test]
fn who_asks_is_answered_once() {
    let (answers, out, stats) = answers("answer.reply");
    let mut message = message("a", "1");
    answers.tell(&mut message, End::Delivered, Some(&content(200, b"a/b", b"yes")), at(2));
    answers.tell(&mut message, End::Dead(Reason::Shutdown), None, at(3));
    let published = out.published.borrow();
    assert_eq!(published.len(), 1);
    assert_eq!((&*published[0].0, &*published[0].2), ("_INBOX.a", &b"yes"[..]));
    assert_eq!(stats.publications[Publication::Sent as usize].get(), 1);
}

#[test]
fn an_error_has_the_number_that_http_has_for_it() {
    for (end, answered, failure, expected) in [
        (End::Filtered, None, None, "404"),
        (End::Filtered, Some(503), None, "404"),
        (End::Dead(Reason::QueueFull), None, None, "503"),
        (End::Dead(Reason::RetryQueueFull), Some(500), Some(Failure::Status(500)), "503"),
        (End::Dead(Reason::Shutdown), None, None, "503"),
        (End::Dead(Reason::Unsendable), None, Some(Failure::Unsendable), "422"),
        (End::Dead(Reason::Rejected), Some(409), Some(Failure::Status(409)), "409"),
        (End::Dead(Reason::Rejected), Some(302), Some(Failure::Status(302)), "502"),
        (End::Dead(Reason::AttemptsExhausted), None, Some(Failure::Timeout), "504"),
        (End::Dead(Reason::AttemptsExhausted), None, Some(Failure::Connect), "502"),
    ] {
        let (answers, out, _) = answers("answer.reply");
        let mut message = Message { last_failure: failure, ..message("a", "1") };
        let answer = answered.map(|status| content(status, b"", b""));
        answers.tell(&mut message, end, answer.as_ref(), at(2));
        let published = out.published.borrow();
        assert_eq!(value(&published[0].1, names::SERVICE_ERROR_CODE).as_deref(), Some(expected), "{end:?}");
    }
}

#[test]
fn what_goes_back_to_its_stream_or_was_not_answered_is_not_published() {
    let (answers, out, _) = answers("answer.publish");
    let answer = content(503, b"", b"later");
    for (end, content) in [
        (End::Dead(Reason::RetryQueueFull), Some(&answer)),
        (End::Dead(Reason::AttemptsExhausted), None),
        (End::Filtered, None),
    ] {
        answers.tell(&mut message("a", "1"), end, content, at(2));
    }
    assert!(out.published.borrow().is_empty());
    answers.tell(&mut message("a", "1"), End::Dead(Reason::AttemptsExhausted), Some(&answer), at(2));
    assert_eq!(out.published.borrow()[0].0, "answers.all");
}

#[test]
fn of_what_is_too_large_the_rest_is_sent() {
    let (answers, out, stats) = answers("answer.reply");
    answers.tell(&mut message("a", "1"), End::Delivered, Some(&content(200, b"a/b", &[b'x'; 2000])), at(2));
    let published = out.published.borrow();
    assert!(published.len() == 1 && published[0].2.is_empty());
    assert!(value(&published[0].1, names::BODY_LEFT_OUT).is_some());
    assert_eq!(stats.publications[Publication::TooLarge as usize].get(), 1);
}

#[test]
fn nothing_that_strangers_write_makes_a_header_or_ends_one() {
    const PIECES: [&[u8]; 12] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"Nats-Msg-Id: x",
        b": ",
        b"\0",
        b"\xff\xfe",
        "é\u{2028}\u{85}".as_bytes(),
        b"\t",
        b" ",
        b"PUB a 0",
        b"text/plain",
    ];
    let (answers, out, _) = answers("answer.reply");
    let mut seed = 7_u64;
    for number in 0..5_000 {
        let mut some = || {
            let mut bytes = Vec::new();
            for _ in 0..4 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                bytes.extend_from_slice(PIECES[usize::try_from(seed >> 33).unwrap() % PIECES.len()]);
            }
            bytes
        };
        let (subject, id) = (some(), some());
        let (subject, id) = (String::from_utf8_lossy(&subject), String::from_utf8_lossy(&id));
        let end = if number % 2 == 0 { End::Delivered } else { End::Dead(Reason::Rejected) };
        answers.tell(&mut message(&subject, &id), end, Some(&content(422, &some(), b"")), at(2));
        let (_, headers, _) = out.published.borrow_mut().pop().unwrap();
        let found: Vec<_> = fields(&headers).into_iter().map(|(name, _)| name).collect();
        let mut expected =
            vec![names::ROUTE, names::ID, names::SUBJECT, names::ATTEMPTS, names::STATUS, http::CONTENT_TYPE];
        if end != End::Delivered {
            expected.extend([names::REASON, names::SERVICE_ERROR, names::SERVICE_ERROR_CODE]);
        }
        assert_eq!(found, expected, "{headers:?}");
    }
}
