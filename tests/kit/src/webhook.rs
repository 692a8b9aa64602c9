//! A webhook that counts: a real server of HTTP/1.1 or HTTP/2 on a thread of its own, told by the test how to behave.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use super::background::Background;
use super::tally::{self, Numbers};
use super::tls::TlsIdentity;

mod behaviour;
mod record;
mod server;

pub use behaviour::{Behaviour, Reply};
use record::Record;
use server::{Order, Speaks};

/// How many requests [`Webhook::counting`] keeps whole.
const KEPT_WHEN_COUNTING: usize = 1_000;

/// A request that the webhook received.
#[derive(Clone)]
pub struct Received {
    /// When it was complete.
    pub at: Instant,
    /// Which connection it came on: 1 is the first that was accepted.
    pub connection: usize,
    /// The method.
    pub method: Method,
    /// The path and the query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The status it was answered with; `None` while the webhook takes its time.
    pub status: Option<u16>,
}

impl Received {
    /// A header's value, or "" when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The message's number: the digits that the body starts with, or those after a JSON `"n":`.
    pub fn number(&self) -> Option<u64> {
        tally::number(&self.body)
    }
}

/// A running webhook. Messages are told apart by their number, see [`Received::number`]; *delivered* are the requests
/// that were answered 2xx.
pub struct Webhook {
    address: SocketAddr,
    scheme: &'static str,
    record: Arc<Mutex<Record>>,
    orders: mpsc::Sender<(Order, oneshot::Sender<()>)>,
    _server: Background,
}

impl Webhook {
    /// A webhook that answers 200.
    pub fn start() -> Self {
        Self::new(Record::new(usize::MAX), Speaks::Http1)
    }

    /// A webhook that answers with these statuses, one after the other, and for ever with the last one.
    pub fn answering<const N: usize>(statuses: [u16; N]) -> Self {
        let hook = Self::start();
        hook.answer(statuses);
        hook
    }

    /// A webhook for many messages: it counts all requests and keeps only the last 1,000 whole.
    pub fn counting() -> Self {
        Self::new(Record::new(KEPT_WHEN_COUNTING), Speaks::Http1)
    }

    /// A webhook that speaks HTTP/2 without being asked (prior knowledge), and else is as [`Self::counting`].
    pub fn counting_http2() -> Self {
        Self::new(Record::new(KEPT_WHEN_COUNTING), Speaks::Http2)
    }

    /// A webhook that speaks HTTP/2 without being asked (prior knowledge).
    pub fn start_http2() -> Self {
        Self::new(Record::new(usize::MAX), Speaks::Http2)
    }

    /// An https webhook that shows this certificate.
    pub fn start_tls(identity: &TlsIdentity) -> Self {
        Self::start_tls_as(identity.server_config())
    }

    /// An https webhook with this configuration of TLS.
    pub fn start_tls_as(config: Arc<ServerConfig>) -> Self {
        Self::new(Record::new(usize::MAX), Speaks::Tls(TlsAcceptor::from(config)))
    }

    fn new(record: Record, speaks: Speaks) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("the system has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let scheme = if matches!(speaks, Speaks::Tls(_)) { "https" } else { "http" };
        let record = Arc::new(Mutex::new(record));
        let (orders, received) = mpsc::channel(1);
        let shared = Arc::clone(&record);
        let server = Background::run("webhook", move || server::run(listener, speaks, shared, received));
        Self { address, scheme, record, orders, _server: server }
    }

    /// The URL to POST to.
    pub fn url(&self) -> String {
        format!("{}://{}/hook", self.scheme, self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on requests are answered like this; those that wait for their answer are not changed.
    pub fn answer(&self, behaviour: impl Into<Behaviour>) {
        self.lock().behaviour = behaviour.into();
    }

    /// Goes away: every connection is cut and the port is closed.
    pub async fn down(&self) {
        self.order(Order::Down).await;
    }

    /// Comes back on the same port.
    pub async fn up(&self) {
        self.order(Order::Up).await;
    }

    /// Closes every connection, as a server does with those that were idle for too long.
    pub async fn close_connections(&self) {
        self.order(Order::CloseConnections).await;
    }

    /// Of HTTP/2: says goodbye on each connection (GOAWAY), and closes it when what is under way is answered.
    pub async fn say_goodbye(&self) {
        self.order(Order::SayGoodbye).await;
    }

    async fn order(&self, order: Order) {
        let (done, obeyed) = oneshot::channel();
        self.orders.send((order, done)).await.expect("the webhook runs");
        obeyed.await.expect("the webhook obeys");
    }

    /// How many requests came, whatever the answer.
    pub fn received(&self) -> usize {
        self.lock().received
    }

    /// How many requests were answered 2xx.
    pub fn delivered(&self) -> usize {
        self.lock().delivered
    }

    /// How many different messages were delivered; those without a number all count as different.
    pub fn distinct(&self) -> usize {
        self.lock().tally.distinct()
    }

    /// The numbers that were delivered when they had been delivered before.
    pub fn duplicates(&self) -> Vec<u64> {
        self.lock().tally.again().to_vec()
    }

    /// The numbers of `expected` that were not delivered.
    pub fn missing(&self, expected: Range<u64>) -> Vec<u64> {
        self.lock().tally.missing(expected)
    }

    /// The requests that are kept, the oldest first.
    pub fn requests(&self) -> Vec<Received> {
        self.lock().requests.iter().cloned().collect()
    }

    /// The bodies of [`Self::requests`].
    pub fn bodies(&self) -> Vec<Bytes> {
        self.lock().requests.iter().map(|request| request.body.clone()).collect()
    }

    /// The `webhook-id` of each of [`Self::requests`], "" where there was none.
    pub fn ids(&self) -> Vec<String> {
        self.lock().requests.iter().map(|request| request.header("webhook-id").to_owned()).collect()
    }

    /// How many connections were accepted since the start.
    pub fn connections(&self) -> usize {
        self.lock().accepted
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.lock().open
    }

    /// How many requests waited for their answer at the same time, at most.
    pub fn most_in_flight(&self) -> usize {
        self.lock().most_in_flight
    }

    /// Waits until `condition` holds; a panic that says what came when it takes longer than `deadline`.
    pub async fn wait_for(&self, condition: impl Fn(&Self) -> bool, deadline: Duration) {
        if super::poll(deadline, || condition(self).then_some(())).await.is_none() {
            panic!("the webhook still waits after {deadline:?}: {}", self.summary());
        }
    }

    /// Waits until `count` different messages are delivered; a panic that names the missing ones of `0..count`.
    pub async fn wait_delivered(&self, count: usize, deadline: Duration) {
        if super::poll(deadline, || (self.distinct() >= count).then_some(())).await.is_none() {
            let missing = Numbers(self.missing(0..count as u64));
            panic!(
                "{count} messages are not here after {deadline:?}: {}; missing: {missing}",
                self.summary()
            );
        }
    }

    /// A panic unless each number of `expected` was delivered once, and nothing else was.
    pub fn assert_exactly_once(&self, expected: Range<u64>) {
        let (missing, again) = (self.missing(expected.clone()), self.duplicates());
        let count = usize::try_from(expected.end - expected.start).expect("it is a count");
        if !missing.is_empty() || self.delivered() != count {
            let (missing, again) = (Numbers(missing), Numbers(again));
            panic!("not exactly once: {}; missing: {missing}; more than once: {again}", self.summary());
        }
    }

    /// What came so far, in a sentence for failure messages.
    pub fn summary(&self) -> String {
        self.lock().summary()
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }
}

/// A test that panics in a [`Behaviour::By`] must not hide its message behind a second panic here.
fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}
