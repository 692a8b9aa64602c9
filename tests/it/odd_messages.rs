//! Messages of any bytes at all, in subjects, reply subjects and headers, published by a client that checks nothing: each is
//! delivered, in order, in both modes, and over one connection.
#![expect(clippy::panic, reason = "a test fails by a panic that says what was lost")]

use std::time::Duration;

use async_nats::jetstream::{self, stream};
use testkit::daemon::{Daemon, Running};
use testkit::dice::Dice;
use testkit::nats::NatsServer;
use testkit::tally::Numbers;
use testkit::webhook::Webhook;

const PATIENCE: Duration = Duration::from_secs(60);
const SUBJECT: &[u8] = b"todos.events";

/// A message as it is published. Its payload is its number.
struct Odd {
    subject: Vec<u8>,
    reply: Vec<u8>,
    /// The header block; none where it is to have none.
    block: Option<Vec<u8>>,
}

impl Odd {
    fn with_headers(block: impl Into<Vec<u8>>) -> Self {
        Self { subject: SUBJECT.to_vec(), reply: Vec::new(), block: Some(block.into()) }
    }

    fn on(subject: &[u8], reply: &[u8]) -> Self {
        Self { subject: subject.to_vec(), reply: reply.to_vec(), block: None }
    }

    /// The bytes that publish it.
    fn command(&self, number: usize) -> Vec<u8> {
        let payload = number.to_string();
        let blank: &[u8] = if self.reply.is_empty() { b"" } else { b" " };
        let (verb, sizes) = match &self.block {
            Some(block) => ("HPUB ", format!("{} {}", block.len(), block.len() + payload.len())),
            None => ("PUB ", payload.len().to_string()),
        };
        let block = self.block.as_deref().unwrap_or_default();
        let line = [verb.as_bytes(), &self.subject, b" ", &self.reply, blank, sizes.as_bytes(), b"\r\n"];
        [line.concat(), block.to_vec(), payload.into_bytes(), b"\r\n".to_vec()].concat()
    }
}

/// Lines of header blocks that are odd.
const LINES: &[&[u8]] = &[
    b"X: a\rb\r\n",
    b"X: a\nb\r\n",
    b"X: a\r\rb\r\n",
    b"X: \r\r\n",
    b"X\r: a\r\n",
    b"\rX: a\r\n",
    b"X: a\n\rY: b\r\n",
    b"X: a\nNats-Msg-Id: 1\r\n",
    b"no colon\r\n",
    b": no name\r\n",
    b":\r\n",
    b"a name: x\r\n",
    b" X: folded\r\n",
    b"X: a\r\n\r\n folded\r\n",
    b"name : x\r\n",
    b"X\t: x\r\n",
    b"X: \xff\xfe\x80\r\n",
    b"\xff: x\r\n",
    b"Zo\xc3\xab: x\r\n",
    b"X: \0\x01\x1b[31m\x7f\r\n",
    b"X\0: x\r\n",
    b"X: a",
    b"X",
    b"\r\n\r\n\r\n",
    b"\n\n\n",
    b"\r\r\r",
    b"Content-Type: a\rb\r\n",
    b"Content-Type: \xff\r\n",
    b"Content-Type: text/plain\r\nHost: x\r\n",
    b"Nats-Msg-Id: odd \xff\rid\r\n",
    b"Nats-Msg-Id\r\n",
    b"Nats-Msg-Id:\r\n",
    b"Status: 503\r\n",
];

/// Blocks that are odd as such. Some look like what the server itself says.
const BLOCKS: &[&[u8]] = &[
    b"",
    b"\r\n",
    b"x",
    b"NATS/1.0",
    b"NATS/1.0\r\n",
    b"NATS/1.0\n\n",
    b"NATS/1.0 \r\n\r\n",
    b"NATS/9.9\r\nX: a\r\n\r\n",
    b"nats/1.0\r\nX: a\r\n\r\n",
    b"X: a\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"NATS/1.0 503 No Responders\r\n\r\n",
    b"NATS/1.0 100 Idle Heartbeat\r\n\r\n",
    b"NATS/1.0 100 FlowControl Request\r\n\r\n",
    b"NATS/1.0 404 No Messages\r\n\r\n",
    b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 1\r\nNats-Pending-Bytes: 0\r\n\r\n",
    b"NATS/1.0 409 Consumer Deleted\r\n\r\n",
    b"NATS/1.0 409 Server Shutdown\r\nNats-Pending-Messages: 99999999999999999999\r\n\r\n",
    b"NATS/1.0 423\r\n\r\n",
    b"NATS/1.0 \xff\r\n\r\n",
    b"NATS/1.0 000\r\n\r\n",
    b"NATS/1.0 99999\r\n\r\n",
    b"NATS/1.0503\r\n\r\n",
];

/// Those that the field has found, and others of their kinds.
fn known() -> Vec<Odd> {
    let blocks = LINES.iter().map(|lines| [b"NATS/1.0\r\n", *lines, b"\r\n"].concat());
    let mut known: Vec<_> =
        blocks.chain(BLOCKS.iter().map(|block| block.to_vec())).map(Odd::with_headers).collect();
    for subject in [
        &b"todos.\xff"[..],
        b"todos.\xc3",
        b"todos.a\rb",
        b"todos.\x01\x7f",
        b"todos.Zo\xc3\xab",
        b"todos.*",
        b"todos.a:b%20",
    ] {
        known.push(Odd::on(subject, b""));
    }
    known.push(Odd::on(&[b"todos.".as_slice(), &[b'x'; 3000]].concat(), b""));
    for reply in [&b"\xff"[..], b"a\rb", b"*", b">", b"..", b"\x01", &[b'r'; 3000]] {
        known.push(Odd::on(SUBJECT, reply));
    }
    known
}

/// Odd headers by chance: of pieces that have a meaning somewhere, and of any bytes.
///
/// The names that are commands to a stream are not among them: a message that it refuses can't be delivered.
fn by_chance(dice: &mut Dice) -> Odd {
    const STARTS: &[&[u8]] = &[
        b"NATS/1.0\r\n",
        b"NATS/1.0\r\n",
        b"NATS/1.0\r\n",
        b"NATS/1.0\r\n",
        b"NATS/1.0",
        b"NATS/1.0 404 x\r\n",
        b"NATS/1.0 \r\n",
        b"",
    ];
    const PIECES: &[&[u8]] = &[
        b"X",
        b"name",
        b"Content-Type",
        b"Status",
        b"Description",
        b":",
        b":",
        b": ",
        b" ",
        b"\t",
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n",
        b"\0",
        b"\x7f",
        b"\xff",
        b"\xc3",
        b"\xc3\xab",
        b"\xe2\x80\xa8",
        b"\xc2\x85",
        b"503",
        b"value",
        b"\x0b",
        b"%0D%0A",
        b"\"",
        b"NATS/1.0",
        b"MSG a 1 1\r\n",
        b"PING\r\n",
        b"-ERR 'x'\r\n",
    ];
    const ENDS: &[&[u8]] = &[b"\r\n\r\n", b"\r\n\r\n", b"\r\n", b"\n", b"\r", b""];
    let mut block = dice.one_of(STARTS).to_vec();
    if dice.roll(4) == 0 {
        for _ in 0..dice.roll(60) {
            block.push(dice.byte());
        }
    } else {
        for _ in 0..dice.roll(16) {
            block.extend_from_slice(dice.one_of(PIECES));
        }
    }
    block.extend_from_slice(dice.one_of(ENDS));
    Odd::with_headers(block)
}

/// 2,000 odd messages, and after each ten an ordinary one.
fn messages() -> Vec<Odd> {
    const COUNT: usize = 2_000;
    let seed = std::env::var("ODD_SEED").map_or(12, |seed| seed.parse().expect("ODD_SEED is a number"));
    eprintln!("ODD_SEED={seed}");
    let mut dice = Dice::new(seed);
    let known = known();
    let by_chance: Vec<_> = (known.len()..COUNT).map(|_| by_chance(&mut dice)).collect();
    let mut messages = Vec::new();
    for (count, odd) in known.into_iter().chain(by_chance).enumerate() {
        messages.push(odd);
        if count % 10 == 9 {
            messages.push(Odd::on(SUBJECT, b""));
        }
    }
    messages
}

async fn publish(nats: &NatsServer, messages: &[Odd]) {
    let commands = messages.iter().enumerate().flat_map(|(number, odd)| odd.command(number));
    nats.say(&commands.collect::<Vec<_>>()).await;
}

/// One message at a time, so that their order can be told.
fn in_order(daemon: Daemon) -> Daemon {
    daemon
        .env("NATS_SUBJECT", "todos.>")
        .env("BROADCASTER__RUNTIME__THREADS", "1")
        .route("webhook.concurrency", "1")
}

/// All of `messages` were delivered, each once and in order, by a daemon that ends well and has never lost its connection.
async fn assert_delivered(hook: &Webhook, messages: &[Odd], mut daemon: Running) {
    let count = messages.len();
    let all_in_time = tokio::time::timeout(PATIENCE, async {
        hook.wait_for(|hook| hook.delivered() >= count, 2 * PATIENCE).await;
    });
    if all_in_time.await.is_err() {
        let missing = hook.missing(0..count as u64);
        let first = missing.first().map(|number| {
            let number = usize::try_from(*number).expect("there are few");
            String::from_utf8_lossy(&messages[number].command(number)).into_owned()
        });
        panic!("lost: {}, the first is {first:?}", Numbers(missing));
    }
    let metrics = daemon.metrics().await;
    assert_eq!(metrics.value("broadcaster_nats_reconnects_total", &[]), 0.0, "the connection was lost");
    let account = daemon.stop().await;
    assert!(account.adds_up() && account.in_hand == 0, "the account does not add up: {account:?}");
    assert_eq!((account.received, account.delivered), (count as u64, count as u64));
    let panics = daemon.logs_containing("panicked");
    assert!(panics.is_empty(), "the daemon panicked: {panics:?}");
    let numbers: Vec<_> =
        hook.requests().iter().map(|request| request.number().expect("all have numbers")).collect();
    assert!(numbers.is_sorted(), "not in order: {numbers:?}");
    hook.assert_exactly_once(0..count as u64);
}

#[tokio::test]
async fn any_bytes_are_delivered_in_core_mode() {
    let (nats, hook, messages) = (NatsServer::start().await, Webhook::start(), messages());
    let daemon = in_order(Daemon::between(&nats, &hook.url())).start_ready().await;
    publish(&nats, &messages).await;
    assert_delivered(&hook, &messages, daemon).await;
}

#[tokio::test]
async fn any_bytes_are_delivered_in_durable_mode() {
    let (nats, hook, messages) = (NatsServer::start().await, Webhook::start(), messages());
    let context = jetstream::new(nats.client().await);
    let config = stream::Config {
        name: "TODOS".to_owned(),
        subjects: vec!["todos.>".to_owned()],
        ..stream::Config::default()
    };
    let mut stream = context.create_stream(config).await.expect("a stream can be made");
    publish(&nats, &messages).await;
    // The server has read them when it answers, and stores them later.
    let stored = tokio::time::timeout(PATIENCE, async {
        while stream.info().await.expect("the server knows it").state.messages < messages.len() as u64 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let stored = stored.await.is_ok();
    assert!(stored, "the stream takes only {} of {}", stream.cached_info().state.messages, messages.len());
    let daemon = Daemon::between(&nats, &hook.url())
        .route("jetstream.stream", "TODOS")
        .route("jetstream.create", "true");
    let daemon = in_order(daemon).start_ready().await;
    assert_delivered(&hook, &messages, daemon).await;
}
