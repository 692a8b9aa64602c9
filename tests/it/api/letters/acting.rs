//! Letters that are delivered after all, or removed, by the daemon that goes on delivering.

use super::*;

use testkit::daemon::run;
use testkit::webhook::{Behaviour, Reply};

#[tokio::test]
async fn a_replay_delivers_each_letter_once_and_may_be_called_again() {
    let hook = Webhook::counting();
    let mut stage = graveyard(&hook, 500).await;
    let client = Client::of(&stage.daemon, ACTOR).await;
    hook.answer(200);
    let counted = done(&client, REPLAY, json!({"all": true, "dry_run": true})).await;
    assert_eq!(figures(&counted, ["total", "seen", "selected", "delivered"]), [500, 500, 500, 0]);
    let few = done(&client, REPLAY, json!({"reason": "rejected", "limit": 10})).await;
    assert_eq!(figures(&few, ["selected", "delivered", "removed"]), [10, 10, 10], "{few}");
    let rest = done(&client, REPLAY, json!({"all": true})).await;
    assert_eq!(figures(&rest, ["total", "delivered", "failed", "removed"]), [490, 490, 0, 490], "{rest}");
    assert_eq!(
        (&rest["state"], &rest["by"], &rest["selection"]),
        (&json!("done"), &json!("ops"), &json!("all"))
    );
    let none = done(&client, REPLAY, json!({"all": true})).await;
    assert_eq!((figures(&none, ["total", "selected"]), &none["number"]), ([0, 0], &json!(4)));
    hook.assert_exactly_once(0..500);
    assert_eq!(count(&stage.nats).await, 0);
    let said = stage.daemon.events("dead letters: done");
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(
        (&said[1]["by"], &said[1]["what"], &said[1]["selection"], &said[1]["delivered"]),
        (&json!("ops"), &json!("replay"), &json!("reason=rejected"), &json!(10))
    );
    let account = stage.close().await;
    assert_eq!((account.received, account.dead_lettered), (500, 500), "a replay counts among the messages");
}

#[tokio::test]
async fn what_fails_again_stays_and_is_named() {
    let hook = Webhook::start();
    let mut stage = graveyard(&hook, 40).await;
    let client = Client::of(&stage.daemon, ACTOR).await;
    hook.answer(Behaviour::by(|request| {
        Reply::status(if request.number().is_some_and(|n| n % 4 == 0) { 503 } else { 200 })
    }));
    let job = done(&client, REPLAY, json!({"all": true})).await;
    assert_eq!(figures(&job, ["delivered", "failed", "removed"]), [30, 10, 30], "{job}");
    let failures = job["failures"].as_array().expect("there is a list");
    assert!(failures.len() == 10 && failures.iter().all(|one| one["failure"] == "503"), "{job}");
    assert_eq!(count(&stage.nats).await, 10);
    hook.down().await;
    let job = done(&client, REPLAY, json!({"all": true})).await;
    assert_eq!(figures(&job, ["delivered", "failed"]), [0, 10], "{job}");
    hook.up().await;
    hook.answer(200);
    let sequences: Vec<_> = failures.iter().map(|failure| failure["sequence"].clone()).collect();
    let job = done(&client, REPLAY, json!({"sequences": sequences})).await;
    assert_eq!(figures(&job, ["delivered", "failed"]), [10, 0], "{job}");
    hook.assert_exactly_once(0..40);
    stage.close().await;
}

/// One at a time: in this process, and beside the command.
#[tokio::test]
async fn two_replays_at_once_deliver_nothing_twice() {
    const COUNT: u64 = 300;
    let hook = Webhook::counting();
    let mut stage = graveyard(&hook, COUNT).await;
    let client = Client::of(&stage.daemon, ACTOR).await;
    hook.answer(Reply::status(200).after(Duration::from_millis(50)));
    let all = || json!({"all": true});
    let both = tokio::join!(client.post(REPLAY, all()), client.post(REPLAY, all()));
    let mut statuses = [both.0.0, both.1.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 409], "{both:?}");
    let (status, refused) = client.post(DISCARD, all()).await;
    assert_eq!((status, problem(&refused)), (409, "under-way"));
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("replay of default by ops")));
    let (nats_url, hook_url) = (stage.nats.url(), hook.url());
    let command = tokio::task::spawn_blocking(move || {
        let env = [("NATS_URL", nats_url.as_str()), ("WEBHOOK_URL", hook_url.as_str())];
        let stream = "routes.default.dead_letter.stream=DEAD";
        run(&["dead-letters", "replay", "--all", "--set", stream], &env)
    });
    let output = command.await.expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("another replay of the stream DEAD"), "{said}");
    let job = ended(&client).await;
    assert_eq!(figures(&job, ["delivered", "removed"]), [COUNT, COUNT], "{job}");
    hook.assert_exactly_once(0..COUNT);
    stage.close().await;
}

#[tokio::test]
async fn a_replay_goes_on_when_nats_is_back() {
    const COUNT: u64 = 600;
    let hook = Webhook::counting();
    let mut stage = graveyard(&hook, COUNT).await;
    let client = Client::of(&stage.daemon, ACTOR).await;
    hook.answer(Reply::status(200).after(Duration::from_millis(20)));
    assert_eq!(client.post(REPLAY, json!({"all": true})).await.0, 202);
    hook.wait_for(|hook| hook.delivered() > 100, SOON).await;
    // Not killed: what a server has not written yet it has not removed either.
    stage.nats.stop().await;
    stage.nats.restart().await;
    let job = ended(&client).await;
    assert_eq!(
        (figures(&job, ["delivered", "failed", "not_removed"]), &job["state"]),
        ([COUNT, 0, 0], &json!("done")),
        "{job}"
    );
    assert_eq!(count(&stage.nats).await, 0);
    hook.assert_exactly_once(0..COUNT);
    stage.close().await;
}

#[tokio::test]
async fn a_discard_removes_what_was_named_and_nothing_else() {
    let hook = Webhook::counting();
    let mut stage = graveyard(&hook, 20).await;
    let client = Client::of(&stage.daemon, ACTOR).await;
    for body in [json!({}), json!({"all": false}), json!({"limit": 1}), json!({"all": true, "id": "x"})] {
        let (status, refused) = client.post(DISCARD, body.clone()).await;
        assert_eq!((status, problem(&refused)), (422, "bad-value"), "{body}");
    }
    assert_eq!(count(&stage.nats).await, 20);
    let job = done(&client, DISCARD, json!({"sequences": [3, 5, 99]})).await;
    assert_eq!((figures(&job, ["selected", "removed"]), &job["act"]), ([2, 2], &json!("discard")), "{job}");
    let left: Vec<_> = list(&client, "")
        .await
        .iter()
        .map(|letter| letter["sequence"].as_u64().unwrap_or_default())
        .collect();
    assert_eq!(left, (1..=20).filter(|n| ![3, 5].contains(n)).collect::<Vec<_>>());
    let said = stage.daemon.events("dead letters: done").pop().expect("it is in the log");
    assert_eq!((&said["by"], &said["what"], &said["removed"]), (&json!("ops"), &json!("discard"), &json!(2)));
    assert_eq!(said["selection"], json!("sequences=3 from 3 to 99"));
    let acts = stage.daemon.events("act");
    assert!(
        acts.iter().any(|act| act["what"] == "POST /api/v1/dead-letters/discard" && act["status"] == 202)
    );
    let job = done(&client, DISCARD, json!({"failure": "422", "limit": 8})).await;
    assert_eq!(figures(&job, ["removed"]), [8], "{job}");
    let job = done(&client, DISCARD, json!({"all": true})).await;
    assert_eq!(figures(&job, ["total", "removed"]), [10, 10], "{job}");
    assert_eq!((count(&stage.nats).await, hook.delivered()), (0, 0));
    stage.close().await;
}

#[tokio::test]
async fn a_route_that_is_held_gets_no_letters() {
    const COUNT: u64 = 200;
    let hook = Webhook::counting();
    let mut stage = graveyard(&hook, COUNT).await;
    let client = Client::of(&stage.daemon, ACTOR).await;
    let hold = async |what: &str| client.post(&format!("/api/v1/routes/default/{what}"), json!({})).await.0;
    assert_eq!(hold("pause").await, 200);
    let (status, refused) = client.post(REPLAY, json!({"all": true})).await;
    assert_eq!((status, problem(&refused)), (409, "held"), "{refused}");
    assert_eq!(hold("resume").await, 200);
    hook.answer(Reply::status(200).after(Duration::from_millis(50)));
    assert_eq!(client.post(REPLAY, json!({"all": true})).await.0, 202);
    hook.wait_for(|hook| hook.delivered() > 10, SOON).await;
    assert_eq!(hold("pause").await, 200);
    let job = ended(&client).await;
    assert_eq!((&job["state"], &job["cause"]), (&json!("stopped"), &json!("the route default is held")));
    let [delivered] = figures(&job, ["delivered"]);
    assert!(delivered < COUNT, "{job}");
    assert_eq!((hook.delivered() as u64, count(&stage.nats).await), (delivered, COUNT - delivered));
    assert_eq!(hold("resume").await, 200);
    hook.answer(200);
    done(&client, REPLAY, json!({"all": true})).await;
    hook.assert_exactly_once(0..COUNT);
    stage.close().await;
}

#[tokio::test]
async fn a_replay_is_stopped_by_hand_or_by_the_end_of_the_process() {
    const COUNT: u64 = 400;
    let hook = Webhook::counting();
    let mut stage = graveyard(&hook, COUNT).await;
    let client = Client::of(&stage.daemon, ACTOR).await;
    hook.answer(Reply::status(200).after(Duration::from_millis(50)));
    assert_eq!(client.post(REPLAY, json!({"all": true})).await.0, 202);
    hook.wait_for(|hook| hook.delivered() > 10, SOON).await;
    assert_eq!(client.ask(hyper::Method::DELETE, JOB, None).await.0, 200);
    let job = ended(&client).await;
    assert_eq!(
        (&job["state"], &job["cause"]),
        (&json!("stopped"), &json!("it was stopped by hand")),
        "{job}"
    );
    let before = hook.delivered() as u64;
    assert_eq!(count(&stage.nats).await, COUNT - before);

    assert_eq!(client.post(REPLAY, json!({"all": true})).await.0, 202);
    hook.wait_for(|hook| hook.delivered() as u64 > before + 10, SOON).await;
    let began = Instant::now();
    stage.close().await;
    assert!(began.elapsed() < Duration::from_secs(10), "the stop took {:?}", began.elapsed());
    let delivered = hook.delivered() as u64;
    assert!(delivered < COUNT, "it was over before the stop");
    assert_eq!(count(&stage.nats).await, COUNT - delivered, "what was delivered is still there");
    assert!(hook.duplicates().is_empty());
    assert_eq!(stage.daemon.events("dead letters: stopped").len(), 2);
}

#[tokio::test]
async fn letters_can_go_to_another_route() {
    let (broken, mended) = (Webhook::answering([422]), Webhook::start());
    let nats = NatsServer::start().await;
    let config = format!(
        "[routes.broken]\nsubject = \"todos.events\"\nwebhook.url = \"{}\"\ndead_letter.stream = \"DEAD\"\n\
         dead_letter.create = true\n[routes.mended]\nsubject = \"x\"\nwebhook.url = \"{}\"\n",
        broken.url(),
        mended.url()
    );
    let daemon = with_tokens(Daemon::new().env("NATS_URL", nats.url())).config(&config).start_ready().await;
    Publisher::new(nats.client().await, "todos.events").burst(3).await;
    wait_count(&nats, 3).await;
    let client = Client::of(&daemon, ACTOR).await;
    let job = done(&client, REPLAY, json!({"all": true, "to_route": "mended"})).await;
    assert_eq!((figures(&job, ["delivered"]), &job["to_route"]), ([3], &json!("mended")), "{job}");
    mended.assert_exactly_once(0..3);
    assert_eq!((count(&nats).await, broken.received()), (0, 3));
}

/// The lanes have their own workers: what is delivered after all is delivered beside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivery_goes_on_during_a_replay_of_many() {
    const COUNT: u64 = 3_000;
    const MORE: u64 = 500;
    let hook = Webhook::counting();
    hook.answer(422);
    let mut stage = Stage::set(&hook.url(), kept).await;
    let mut publisher = Publisher::new(stage.client.clone(), "todos.events");
    publisher.burst(COUNT).await;
    wait_count(&stage.nats, COUNT).await;
    let client = Client::of(&stage.daemon, ACTOR).await;
    hook.answer(200);
    let began = Instant::now();
    assert_eq!(client.post(REPLAY, json!({"all": true})).await.0, 202);
    publisher.burst(MORE).await;
    let behind = |hook: &Webhook| hook.missing(COUNT..COUNT + MORE).is_empty();
    hook.wait_for(behind, SOON).await;
    let (_, latest) = client.get(JOB).await;
    eprintln!("{MORE} messages beside {} letters within {:?}", latest["job"]["delivered"], began.elapsed());
    assert_eq!(latest["job"]["state"], "running", "messages have waited for all letters");
    let job = ended(&client).await;
    assert_eq!(figures(&job, ["delivered", "failed"]), [COUNT, 0], "{job}");
    eprintln!("{COUNT} letters within {:?}", began.elapsed());
    let account = stage.close().await;
    assert_eq!((account.delivered, account.dead_lettered), (MORE, COUNT));
    hook.assert_exactly_once(0..COUNT + MORE);
}

/// What is read of large letters is let go of again.
#[tokio::test]
async fn large_letters_are_listed_and_delivered_in_little_memory() {
    const COUNT: u64 = 60;
    let hook = Webhook::counting();
    let mut stage = graveyard(&hook, 1).await;
    let payload = vec![b'x'; 900 * 1024];
    for _ in 0..COUNT {
        put(&stage.nats, b"Broadcaster-Route: default\r\n", &payload).await;
    }
    wait_count(&stage.nats, COUNT + 1).await;
    hook.answer(200);
    let client = Client::of(&stage.daemon, ACTOR).await;
    let before = stage.daemon.rss_kib();
    assert_eq!(list(&client, "limit=10").await.len() as u64, COUNT + 1);
    let job = done(&client, REPLAY, json!({"all": true})).await;
    assert_eq!(figures(&job, ["delivered"]), [COUNT + 1], "{job}");
    let grown = stage.daemon.rss_kib().saturating_sub(before) / 1024;
    eprintln!("{COUNT} letters of 900 KiB took {grown} MiB");
    assert!(grown < 96, "{grown} MiB more after {COUNT} letters of 900 KiB");
    stage.close().await;
}
