//! A batch that is refused is halved until the culprit stands alone, which dies alone.

use super::*;

/// Refuses each request with one of these numbers in it.
fn refusing(culprits: &'static [u64], status: u16) -> Behaviour {
    Behaviour::by(move |request| {
        let is_refused = numbers(request).iter().any(|number| culprits.contains(number));
        Reply::status(if is_refused { status } else { 200 }).body(if is_refused {
            "no such customer"
        } else {
            ""
        })
    })
}

async fn letters_of(stage: &Stage) -> async_nats::Subscriber {
    let letters = stage.client.subscribe("dead").await.expect("a subscription");
    stage.client.flush().await.expect("NATS is there");
    letters
}

#[tokio::test]
async fn the_culprit_dies_alone_and_costs_two_requests_for_each_halving() {
    for status in [400, 413, 422] {
        let hook = Webhook::start();
        hook.answer(refusing(&[37], status));
        let mut stage =
            Stage::set(&hook.url(), |daemon| batched(daemon, 64, "20s").route("dead_letter.subject", "dead"))
                .await;
        let mut letters = letters_of(&stage).await;
        publish(&stage, 64).await;
        stage.wait_processed(64).await;
        assert_taken_once(&hook, 64, &[37]);
        let requests = hook.received();
        assert!(requests <= 1 + 2 * 6, "{requests} requests for one of 64");
        let attempts: Vec<_> =
            hook.requests().iter().map(|request| request.header("broadcaster-attempt").to_owned()).collect();
        assert!(attempts.iter().all(|attempt| attempt == "1"), "an innocent message has paid: {attempts:?}");
        let letter = nats::next(&mut letters, SOON).await;
        let headers = letter.headers.expect("a letter has headers");
        let header = |name: &str| headers.get(name).map(|value| value.as_str()).unwrap_or_default();
        assert_eq!(&letter.payload[..], b"37", "the letter is the message, and no batch");
        assert_eq!([header("Broadcaster-Reason"), header("Broadcaster-Attempts")], ["rejected", "1"]);
        assert_eq!(header("Broadcaster-Last-Status"), status.to_string());
        assert_eq!(header("Broadcaster-Last-Answer"), "no such customer");
        let account = stage.close().await;
        assert_eq!((account.delivered, account.dead_lettered), (63, 1), "{account:?}");
    }
}

#[tokio::test]
async fn several_culprits_die_and_all_others_are_taken() {
    let hook = Webhook::start();
    hook.answer(refusing(&[0, 1, 50, 99], 422));
    let mut stage = Stage::set(&hook.url(), |daemon| batched(daemon, 100, "20s")).await;
    publish(&stage, 100).await;
    stage.wait_processed(100).await;
    assert_taken_once(&hook, 100, &[0, 1, 50, 99]);
    let account = stage.close().await;
    assert_eq!((account.delivered, account.dropped), (96, 4), "{account:?}");
}

#[tokio::test]
async fn a_message_that_always_fails_dies_and_all_others_are_taken() {
    let hook = Webhook::start();
    hook.answer(refusing(&[3], 500));
    let mut stage =
        Stage::set(&hook.url(), |daemon| batched(daemon.impatient(), 16, "20s").route("retry.attempts", "3"))
            .await;
    publish(&stage, 16).await;
    stage.wait_processed(15).await;
    // Others are taken meanwhile: now the message is to blame.
    let mut account = None;
    for round in 0..200_u64 {
        publish_others(&stage, 100 + 16 * round).await;
        let processed = stage
            .daemon
            .metrics()
            .await
            .sum("broadcaster_messages_processed_total", &[("outcome", "dropped")]);
        if processed >= 1.0 {
            account = Some(stage.close().await);
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let account = account.expect("the culprit dies");
    assert_eq!(account.dropped, 1, "{account:?}");
    let taken = answered(&hook, |status| status < 300);
    assert!((0..16).filter(|number| *number != 3).all(|number| taken.get(&number) == Some(&1)), "{taken:?}");
}

/// Sixteen messages, a whole batch.
async fn publish_others(stage: &Stage, first: u64) {
    for number in first..first + 16 {
        stage.publish(number.to_string()).await;
    }
}

#[tokio::test]
async fn one_of_which_no_body_can_be_made_is_found_without_a_request() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| {
        batched(daemon, 8, "20s")
            .route("webhook.format", "template")
            .route("webhook.template", "{{ data.n }}")
            .route("dead_letter.subject", "dead")
    })
    .await;
    let mut letters = letters_of(&stage).await;
    for number in 0..8 {
        stage.publish(if number == 5 { "{}".to_owned() } else { format!("{{\"n\": {number}}}") }).await;
    }
    stage.wait_processed(8).await;
    assert_taken_once(&hook, 8, &[5]);
    assert!(hook.requests().iter().all(|request| request.status == Some(200)), "{}", hook.summary());
    let letter = nats::next(&mut letters, SOON).await;
    assert_eq!(&letter.payload[..], b"{}");
    stage.close().await;
}

#[tokio::test]
async fn an_outage_kills_nobody_and_batches_go_on_after_it() {
    let hook = Webhook::answering([503]);
    let mut stage = Stage::set(&hook.url(), |daemon| {
        batched(daemon.impatient(), 10, "50ms")
            .route("retry.attempts", "2")
            .route("breaker.open_for", "200ms")
    })
    .await;
    publish(&stage, 100).await;
    hook.wait_for(|hook| hook.received() >= 20, SOON).await;
    hook.answer(200);
    stage.wait_processed(100).await;
    assert_taken_once(&hook, 100, &[]);
    let account = stage.close().await;
    assert_eq!(account.delivered, 100, "{account:?}");
}

#[tokio::test]
async fn the_rate_limit_counts_requests() {
    let hook = Webhook::start();
    let mut stage = Stage::set(&hook.url(), |daemon| {
        batched(daemon, 50, "20s").route("rate_limit.per_second", "1").route("rate_limit.burst", "2")
    })
    .await;
    let begin = Instant::now();
    publish(&stage, 150).await;
    stage.wait_processed(150).await;
    assert_eq!(hook.received(), 3, "{}", hook.summary());
    assert!(begin.elapsed() >= Duration::from_millis(900), "the third request had to wait");
    assert_eq!(stage.close().await.delivered, 150);
}
