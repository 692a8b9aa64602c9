//! What is told of dead letters, and to whom.

use super::*;

fn sequences(letters: &[Value]) -> Vec<u64> {
    letters.iter().map(|letter| letter["sequence"].as_u64().expect("it has a sequence")).collect()
}

#[tokio::test]
async fn letters_are_listed_by_what_they_say() {
    let hook = Webhook::start();
    let mut stage = graveyard(&hook, 3).await;
    let client = Client::of(&stage.daemon, LOOKER).await;
    let lines =
        b"Broadcaster-Reason: shutdown\r\nBroadcaster-Last-Failure: timeout\r\nBroadcaster-Id: x7\r\n\
                  Broadcaster-Subject: orders.new\r\nBroadcaster-Route: default\r\n";
    put(&stage.nats, lines, b"3").await;
    put(&stage.nats, b"Broadcaster-Reason: rejected\r\nBroadcaster-Route: gone\r\n", b"4").await;
    wait_count(&stage.nats, 5).await;
    for (query, wanted) in [
        ("", &[1, 2, 3, 4, 5][..]),
        ("route=default", &[1, 2, 3, 4, 5]),
        ("reason=rejected", &[1, 2, 3, 5]),
        ("reason=shutdown", &[4]),
        ("failure=422", &[1, 2, 3]),
        ("failure=timeout&reason=rejected", &[]),
        ("id=x7", &[4]),
        ("subject=orders.*", &[4]),
        ("subject=todos.events", &[1, 2, 3]),
        ("since=1h", &[1, 2, 3, 4, 5]),
        ("until=1h", &[]),
        ("since=2100-01-01T00:00:00Z", &[]),
        ("until=2100-01-01T00:00:00Z&reason=shutdown", &[4]),
        ("limit=2", &[1, 2, 3, 4, 5]),
    ] {
        assert_eq!(sequences(&list(&client, query).await), wanted, "{query}");
    }
    let (_, page) = client.get(&format!("{LETTERS}?limit=2&after=1")).await;
    assert_eq!((&page["route"], &page["stream"]), (&json!("default"), &json!("DEAD")));
    assert_eq!((&page["total"], &page["next"]), (&json!(5), &json!(3)));
    let first = &page["letters"][0];
    assert_eq!((&first["reason"], &first["last_failure"]), (&json!("rejected"), &json!("422")));
    assert_eq!((&first["attempts"], &first["bytes"]), (&json!(1), &json!(1)));
    for (query, wanted) in [
        ("limit=0", (400, "bad-query")),
        ("reason=boredom", (400, "bad-query")),
        ("since=yesterday", (400, "bad-query")),
        ("subject=a..b", (400, "bad-query")),
        ("sequences=1", (400, "bad-query")),
        ("route=nobody", (404, "no-such-route")),
    ] {
        let (status, refused) = client.get(&format!("{LETTERS}?{query}")).await;
        assert_eq!((status, problem(&refused)), wanted, "{query}: {refused}");
    }
    stage.close().await;
}

#[tokio::test]
async fn a_thousand_letters_come_by_the_page() {
    let hook = Webhook::counting();
    let mut stage = graveyard(&hook, 1_000).await;
    let client = Client::of(&stage.daemon, LOOKER).await;
    assert_eq!(sequences(&list(&client, "limit=130").await), (1..=1_000).collect::<Vec<_>>());
    // Where few of many are asked for, the pages are those of the ones that fit.
    let (_, last) = client.get(&format!("{LETTERS}?after=990&limit=1000")).await;
    assert_eq!((last["letters"].as_array().map(Vec::len), &last["next"]), (Some(10), &json!(null)));
    stage.close().await;
}

#[tokio::test]
async fn one_letter_is_shown_with_all_it_has() {
    let hook = Webhook::start();
    let mut stage = graveyard(&hook, 1).await;
    let client = Client::of(&stage.daemon, LOOKER).await;
    put(&stage.nats, b"X: y\r\n", b"\xff\xfe").await;
    put(&stage.nats, b"X: y\r\n", &[b'z'; 300 * 1024]).await;
    put(&stage.nats, b"Broadcaster-Route: default\r\n", b"").await;
    wait_count(&stage.nats, 4).await;
    let (status, letter) = client.get(&format!("{LETTERS}/1?route=default")).await;
    assert_eq!((status, &letter["payload"]), (200, &json!({"text": "0", "left_out": 0})));
    let headers = letter["headers"].as_array().expect("there are headers");
    assert!(headers.contains(&json!(["Broadcaster-Reason", "rejected"])), "{letter}");
    let (_, letter) = client.get(&format!("{LETTERS}/2")).await;
    assert_eq!(letter["payload"], json!({"base64": "//4=", "left_out": 0}));
    assert_eq!((&letter["id"], &letter["reason"]), (&json!("DEAD:2"), &json!(null)));
    let (_, letter) = client.get(&format!("{LETTERS}/3")).await;
    assert_eq!((&letter["payload"]["left_out"], &letter["bytes"]), (&json!(44 * 1024), &json!(300 * 1024)));
    for sequence in ["5", "0", "x", "18446744073709551616"] {
        let (status, refused) = client.get(&format!("{LETTERS}/{sequence}")).await;
        assert_eq!((status, problem(&refused)), (404, "no-such-letter"), "{sequence}: {refused}");
    }
    stage.close().await;
}

/// A stream may keep more than the letters of one route.
#[tokio::test]
async fn what_else_a_stream_keeps_is_nobodys_letter() {
    let nats = NatsServer::start().await;
    let config = jetstream::stream::Config {
        name: "DEAD".to_owned(),
        subjects: vec!["broadcaster.dead.>".to_owned(), "secret".to_owned()],
        ..Default::default()
    };
    let context = jetstream::new(nats.client().await);
    context.create_stream(config).await.expect("the stream can be made");
    nats.say(b"PUB secret 6\r\ns3cret\r\n").await;
    let route = |name: &str, subject: &str| {
        format!(
            "[routes.{name}]\nsubject = \"{name}\"\nwebhook.url = \"http://127.0.0.1:1/\"\n\
             dead_letter.subject = \"broadcaster.dead.{subject}\"\n"
        )
    };
    let config = [route("a", "shared"), route("b", "shared"), route("c", "c")].concat();
    let daemon = with_tokens(Daemon::new().env("NATS_URL", nats.url())).config(&config).start_ready().await;
    let client = Client::of(&daemon, ACTOR).await;
    let put = async |subject: &str, route: &str| {
        let head = format!("NATS/1.0\r\nBroadcaster-Route: {route}\r\n\r\n");
        let length = head.len();
        let command = format!("HPUB broadcaster.dead.{subject} {length} {length}\r\n{head}\r\n");
        nats.say(command.as_bytes()).await;
    };
    put("shared", "a").await;
    put("shared", "b").await;
    put("c", "c").await;
    wait_count(&nats, 4).await;
    for (route, wanted) in [("a", [2]), ("b", [3]), ("c", [4])] {
        assert_eq!(sequences(&list(&client, &format!("route={route}")).await), wanted, "{route}");
        let (_, counted) = client.post(DISCARD, json!({"route": route, "all": true, "dry_run": true})).await;
        assert_eq!(counted["job"]["dry_run"], json!(true));
        assert_eq!(figures(&ended(&client).await, ["selected", "removed"]), [1, 0], "{route}");
        for sequence in (1..=4).filter(|sequence| *sequence != wanted[0]) {
            let (status, refused) = client.get(&format!("{LETTERS}/{sequence}?route={route}")).await;
            assert_eq!((status, problem(&refused)), (404, "no-such-letter"), "{route} {sequence}");
        }
        let named = json!({"route": route, "sequences": [1, 2, 3, 4], "dry_run": true});
        assert_eq!(figures(&done(&client, DISCARD, named).await, ["selected"]), [1], "{route}");
    }
    let (status, refused) = client.get(LETTERS).await;
    assert_eq!((status, problem(&refused)), (400, "which-route"));
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("a, b, c")), "{refused}");
}

#[tokio::test]
async fn whoever_may_only_look_changes_nothing() {
    let hook = Webhook::start();
    let mut stage = graveyard(&hook, 2).await;
    let looker = Client::of(&stage.daemon, LOOKER).await;
    let nobody = Client { token: None, ..Client::of(&stage.daemon, LOOKER).await };
    for path in [LETTERS, "/api/v1/dead-letters/1", JOB] {
        assert_eq!(looker.get(path).await.0, 200, "{path}");
        assert_eq!(nobody.get(path).await.0, 401, "{path}: payloads and ids are not for everybody");
    }
    for (method, path) in
        [(hyper::Method::POST, REPLAY), (hyper::Method::POST, DISCARD), (hyper::Method::DELETE, JOB)]
    {
        let (status, refused) = looker.ask(method, path, Some(json!({"all": true}))).await;
        assert_eq!((status, problem(&refused)), (403, "role-too-small"), "{path}");
    }
    assert_eq!((count(&stage.nats).await, hook.delivered()), (2, 0));
    stage.close().await;
}

#[tokio::test]
async fn where_no_letters_are_kept_it_is_said_what_to_set() {
    let hook = Webhook::start();
    for (is_published, word) in [
        (false, "set routes.NAME.dead_letter.subject"),
        (true, "no stream keeps the subject broadcaster.dead.default"),
    ] {
        let described = |daemon: Daemon| match is_published {
            true => with_tokens(daemon).route("dead_letter.subject", "broadcaster.dead.default"),
            false => with_tokens(daemon),
        };
        let mut stage = Stage::set(&hook.url(), described).await;
        let client = Client::of(&stage.daemon, ACTOR).await;
        let all = || json!({"all": true});
        let said =
            [client.get(LETTERS).await, client.post(REPLAY, all()).await, client.post(DISCARD, all()).await];
        for (status, refused) in said {
            assert_eq!((status, problem(&refused)), (404, "no-dead-letters"));
            assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains(word)), "{refused}");
        }
        assert_eq!(client.get(JOB).await.1, json!({"job": null}));
        stage.close().await;
    }
}

#[tokio::test]
async fn without_nats_it_is_said_so_and_nobody_waits_long() {
    let hook = Webhook::start();
    let mut stage = graveyard(&hook, 1).await;
    let client = Client::of(&stage.daemon, ACTOR).await;
    stage.nats.stop().await;
    let began = Instant::now();
    let (status, refused) = client.get(LETTERS).await;
    assert_eq!((status, problem(&refused)), (503, "nats"), "{refused}");
    let (status, refused) = client.post(REPLAY, json!({"all": true})).await;
    assert_eq!((status, problem(&refused)), (503, "nats"), "{refused}");
    assert!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
    stage.nats.restart().await;
    assert_eq!(list(&client, "").await.len(), 1);
    stage.close().await;
}

/// Headers that end the client library, and others that can't be headers at all.
#[tokio::test]
async fn letters_with_any_headers_are_listed_shown_and_delivered() {
    let hook = Webhook::start();
    let mut stage = graveyard(&hook, 1).await;
    hook.answer(200);
    let lines: [&[u8]; 8] = [
        b"X: a\rb\r\n",
        b"no colon\r\n",
        b"a b: c\r\n",
        b"X: \xff\xfe\r\nBroadcaster-Id: odd\r\n",
        b": nothing\r\nX:\r\n",
        b"X: a\nNats-Msg-Id: other\r\n",
        b"\xff: \x00\r\n",
        b"Broadcaster-Reason: \xff\r\nBroadcaster-Subject: a..b \x1b[31m\r\nBroadcaster-Attempts: -1\r\n",
    ];
    for (number, lines) in (1_u64..).zip(lines) {
        put(&stage.nats, lines, number.to_string().as_bytes()).await;
    }
    wait_count(&stage.nats, 9).await;
    let client = Client::of(&stage.daemon, ACTOR).await;
    for letter in list(&client, "").await {
        assert_eq!(client.get(&format!("{LETTERS}/{}", letter["sequence"])).await.0, 200, "{letter}");
    }
    let job = done(&client, REPLAY, json!({"all": true})).await;
    assert_eq!(figures(&job, ["delivered", "failed", "removed"]), [9, 0, 9], "{job}");
    stage.close().await;
    let mut numbers: Vec<_> = hook.requests().split_off(1).iter().filter_map(|r| r.number()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..9).collect::<Vec<_>>());
}
