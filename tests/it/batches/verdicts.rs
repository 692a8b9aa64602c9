//! A receiver says of each message of a batch what it thinks of it.

use super::*;

/// The daemon that this test is about, with batches of `count`, which reads verdicts.
async fn stage(hook: &Webhook, count: usize) -> Stage {
    Stage::set(&hook.url(), |daemon| {
        batched(daemon.impatient(), count, "20s")
            .route("answer.verdict", "true")
            .route("dead_letter.subject", "dead")
            .route("retry.attempts", "4")
    })
    .await
}

#[tokio::test]
async fn each_message_gets_what_is_said_of_it() {
    for status in [200, 207] {
        let hook = Webhook::start();
        let mut is_first = true;
        hook.answer(Behaviour::by(move |request| {
            if !std::mem::take(&mut is_first) {
                return Reply::status(200);
            }
            let id = request.header("broadcaster-count");
            assert_eq!(id, "6");
            let body = json!({ "entries": [
                { "id": "id-1", "status": 422, "error": "no such\ncustomer" },
                { "index": 2, "status": 503 },
                { "index": 3, "verdict": "drop" },
                { "index": 4, "verdict": "retry" },
                { "index": 5, "status": 200 },
                { "id": "somebody else's", "status": 422 },
            ] });
            Reply::status(status).body(body.to_string())
        }));
        let mut stage = stage(&hook, 6).await;
        let mut letters = stage.client.subscribe("dead").await.expect("a subscription");
        stage.client.flush().await.expect("NATS is there");
        for number in 0..6 {
            stage.publish_with(&[("Nats-Msg-Id", &format!("id-{number}"))], number.to_string()).await;
        }
        stage.wait_processed(6).await;
        let letter = nats::next(&mut letters, SOON).await;
        let headers = letter.headers.expect("a letter has headers");
        let header = |name: &str| headers.get(name).map(|value| value.as_str()).unwrap_or_default();
        assert_eq!((&letter.payload[..], header("Broadcaster-Id")), (&b"1"[..], "id-1"));
        let why = ["Broadcaster-Reason", "Broadcaster-Last-Status", "Broadcaster-Last-Cause"].map(header);
        assert_eq!(why, ["rejected", "422", "no such customer"]);
        // What is to come again goes alone, and has not paid.
        let again: Vec<_> = hook.requests().split_off(1);
        let mut numbers: Vec<_> = again.iter().flat_map(numbers).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [2, 4], "{}", hook.summary());
        assert!(again.iter().all(|request| request.header("broadcaster-attempt") == "1"));
        stage.daemon.wait_log("entries for messages that it did not get", SOON).await;
        let account = stage.close().await;
        assert_eq!((account.delivered, account.dead_lettered, account.filtered), (4, 1, 1), "{account:?}");
    }
}

#[tokio::test]
async fn what_is_not_mentioned_follows_the_status() {
    let hook = Webhook::start();
    // It refuses the whole, and says that it has taken one of them: which must not come again.
    hook.answer(Behaviour::by(|request| match numbers(request).len() {
        4 => Reply::status(422).body(json!({ "entries": [{ "index": 0, "status": 200 }] }).to_string()),
        _ => Reply::status(200),
    }));
    let mut stage = stage(&hook, 4).await;
    publish(&stage, 4).await;
    stage.wait_processed(4).await;
    let requests: Vec<_> = hook.requests().iter().map(numbers).collect();
    assert_eq!(requests[0], [0, 1, 2, 3]);
    let mut later = requests[1..].concat();
    later.sort_unstable();
    assert_eq!(later, [1, 2, 3], "{requests:?}");
    assert_eq!(stage.close().await.delivered, 4);
}

#[tokio::test]
async fn a_receiver_that_puts_everything_off_loses_nothing() {
    let hook = Webhook::start();
    let mut left = 3;
    hook.answer(Behaviour::by(move |request| {
        left -= i32::from(left > 0);
        if left == 0 {
            return Reply::status(200);
        }
        let entries: Vec<_> =
            (0..numbers(request).len()).map(|index| json!({ "index": index, "status": 429 })).collect();
        Reply::status(207).body(json!({ "entries": entries }).to_string())
    }));
    let mut stage = stage(&hook, 5).await;
    publish(&stage, 5).await;
    stage.wait_processed(5).await;
    let account = stage.close().await;
    assert_eq!((account.delivered, account.dead_lettered), (5, 0), "{account:?}");
}

#[tokio::test]
async fn a_message_that_is_always_asked_for_again_ends_after_its_attempts() {
    let hook = Webhook::start();
    hook.answer(Behaviour::by(|request| {
        let entries: Vec<_> = numbers(request)
            .iter()
            .enumerate()
            .filter(|(_, number)| **number == 2)
            .map(|(index, _)| json!({ "index": index, "verdict": "retry" }))
            .collect();
        Reply::status(207).body(json!({ "entries": entries }).to_string())
    }));
    let mut stage = stage(&hook, 4).await;
    publish(&stage, 4).await;
    stage.wait_processed(4).await;
    let account = stage.close().await;
    assert_eq!((account.delivered, account.dead_lettered), (3, 1), "{account:?}");
    // Once among the others, which costs it nothing, and four times alone.
    assert_eq!(hook.received(), 5, "{}", hook.summary());
}

#[tokio::test]
async fn no_answer_is_fatal_however_hostile_it_is() {
    let hook = Webhook::start();
    let many = format!("{{\"entries\": [{}{{}}]}}", "{\"index\": 0, \"status\": 422},".repeat(200_000));
    let bodies: Vec<bytes::Bytes> = vec![
        "{".into(),
        format!("{{\"entries\": {}", "[".repeat(60_000)).into(),
        many.into(),
        vec![0xff; 1 << 20].into(),
        "{\"entries\": [{\"index\": -1, \"status\": 1e400}, {\"index\": 18446744073709551616}]}".into(),
        "{\"entries\": {\"index\": 0}}".into(),
    ];
    let count = bodies.len() as u64;
    let mut replies = bodies.into_iter();
    hook.answer(Behaviour::by(move |_| Reply::status(207).body(replies.next().unwrap_or_default())));
    let mut stage = stage(&hook, 2).await;
    for round in 0..count {
        publish(&stage, 2).await;
        stage.wait_processed(u32::try_from(2 * round + 2).expect("it is a small number")).await;
    }
    // None of them says anything that can be read, so the status counts.
    let account = stage.close().await;
    assert_eq!(account.delivered, 2 * count, "{account:?}");
    assert!(!stage.daemon.logs_containing("207 Multi-Status without entries").is_empty());
}

#[tokio::test]
async fn nobody_reads_verdicts_without_the_setting() {
    let hook = Webhook::start();
    hook.answer(Reply::status(200).body("{\"entries\": [{\"index\": 0, \"verdict\": \"drop\"}]}"));
    for setting in [None, Some(("answer.limit", "128KiB"))] {
        let mut stage = Stage::set(&hook.url(), |daemon| {
            let daemon = batched(daemon, 2, "20s");
            setting.into_iter().fold(daemon, |daemon, (key, value)| daemon.route(key, value))
        })
        .await;
        publish(&stage, 2).await;
        stage.wait_processed(2).await;
        assert_eq!(stage.close().await.delivered, 2);
    }
}
