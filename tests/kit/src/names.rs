//! A name server that answers as told, or not at all. Only inside of a namespace ([`super::namespace`]) it is asked.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;

use super::background::Background;
use super::namespace::NAME_SERVER;

/// A running name server. It knows nothing at first: all names are unknown.
pub struct NameServer {
    book: Arc<Mutex<Book>>,
    _server: Background,
}

#[derive(Default)]
struct Book {
    names: HashMap<String, Entry>,
    asked: HashMap<String, usize>,
}

enum Entry {
    Known(Vec<IpAddr>),
    /// Questions for it are not answered.
    Silent,
}

impl NameServer {
    /// A server at the address that is asked inside of a namespace.
    pub fn start() -> Self {
        let book = Arc::new(Mutex::new(Book::default()));
        let socket = std::net::UdpSocket::bind((NAME_SERVER, 53)).expect("the port is free in here");
        socket.set_nonblocking(true).expect("a socket can be made non-blocking");
        let shared = Arc::clone(&book);
        let server = Background::run("names", move || serve(socket, shared));
        Self { book, _server: server }
    }

    /// Answers questions for `name` with these addresses.
    pub fn know<A: Into<IpAddr>>(&self, name: &str, addresses: impl IntoIterator<Item = A>) {
        let addresses = addresses.into_iter().map(Into::into).collect();
        lock(&self.book).names.insert(name.to_owned(), Entry::Known(addresses));
    }

    /// Takes questions for `name`, and does not answer.
    pub fn silence(&self, name: &str) {
        lock(&self.book).names.insert(name.to_owned(), Entry::Silent);
    }

    /// Says that `name` does not exist.
    pub fn forget(&self, name: &str) {
        lock(&self.book).names.remove(name);
    }

    /// How many questions for `name` have come.
    pub fn asked(&self, name: &str) -> usize {
        lock(&self.book).asked.get(name).copied().unwrap_or_default()
    }

    /// Waits until more than `count` questions for `name` have come.
    pub async fn wait_asked(&self, name: &str, count: usize, deadline: Duration) {
        let asked = super::poll(deadline, || (self.asked(name) > count).then_some(())).await;
        assert!(asked.is_some(), "{name} was asked for {} times after {deadline:?}", self.asked(name));
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(socket: std::net::UdpSocket, book: Arc<Mutex<Book>>) {
    let socket = UdpSocket::from_std(socket).expect("a socket can be registered");
    let mut question = [0; 512];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut question).await else { continue };
        let answer = answer(&question[..length], &mut lock(&book));
        if let Some(answer) = answer {
            // Whoever asked may have gone.
            socket.send_to(&answer, from).await.ok();
        }
    }
}

/// The answer to a message with one question (RFC 1035 section 4); none where there is to be none.
fn answer(message: &[u8], book: &mut Book) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    const A: u16 = 1;
    const AAAA: u16 = 28;
    let mut labels = Vec::new();
    let mut end = HEADER;
    loop {
        let length = usize::from(*message.get(end)?);
        let label = message.get(end + 1..end + 1 + length)?;
        end += 1 + length;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(label).to_lowercase());
    }
    let kind = u16::from_be_bytes(message.get(end..end + 2)?.try_into().ok()?);
    let question = message.get(HEADER..end + 4)?;
    let name = labels.join(".");
    *book.asked.entry(name.clone()).or_default() += 1;
    let addresses = match book.names.get(&name) {
        Some(Entry::Silent) => return None,
        Some(Entry::Known(addresses)) => Some(addresses),
        None => None,
    };
    let no_such_name = if addresses.is_none() { 3 } else { 0 };
    let records: Vec<_> = addresses
        .into_iter()
        .flatten()
        .filter(|address| kind == if address.is_ipv4() { A } else { AAAA })
        .collect();
    let count = u8::try_from(records.len()).expect("no test has so many addresses");
    let mut answer = message.get(..2)?.to_vec();
    answer.extend([0x81, 0x80 | no_such_name, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend_from_slice(question);
    for record in records {
        let bytes = match record {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        // The name of the question, its kind, class, a minute to live, and the address.
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 60, 0, u8::try_from(bytes.len()).expect("an address is short")]);
        answer.extend(bytes);
    }
    Some(answer)
}
