//! A name server that knows one name.

use std::net::Ipv4Addr;

use tokio::net::UdpSocket;

use testkit::background::Background;

/// Clients ask no other port.
const PORT: u16 = 53;
const HEADER_BYTES: usize = 12;
/// Of a question, behind the name: type IPv4 address, class Internet.
const ADDRESS: [u8; 4] = [0, 1, 0, 1];

/// A running name server, on a loopback address of this process.
pub(crate) struct NameServer {
    address: Ipv4Addr,
    _server: Background,
}

impl NameServer {
    /// Answers that `name` is this machine, and that there is nothing else.
    pub(crate) fn start(name: &'static str) -> Self {
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 53, high, low);
        let socket = std::net::UdpSocket::bind((address, PORT))
            .unwrap_or_else(|error| panic!("cannot bind {address}:{PORT}, which takes root: {error}"));
        socket.set_nonblocking(true).expect("a socket can be asked not to block");
        let server = Background::run("name server", move || serve(socket, name));
        Self { address, _server: server }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }
}

async fn serve(socket: std::net::UdpSocket, name: &str) {
    let socket = UdpSocket::from_std(socket).expect("the runtime takes the socket");
    let mut datagram = [0; 512];
    loop {
        let (length, client) = socket.recv_from(&mut datagram).await.expect("the socket is open");
        let answer = answer(&datagram[..length], name);
        socket.send_to(&answer, client).await.expect("the loopback takes it");
    }
}

/// The answer to a query of one question, as RFC 1035 has it.
fn answer(query: &[u8], name: &str) -> Vec<u8> {
    let labels = name
        .split('.')
        .flat_map(|label| [&[u8::try_from(label.len()).expect("a short label")], label.as_bytes()].concat());
    let encoded: Vec<u8> = labels.chain([0]).collect();
    let known = query[HEADER_BYTES..].starts_with(&encoded);
    let end = query[HEADER_BYTES..].iter().position(|&byte| byte == 0).expect("a name has an end");
    let question = &query[HEADER_BYTES..HEADER_BYTES + end + 1 + ADDRESS.len()];
    let found = known && question.ends_with(&ADDRESS);
    // A response, recursion desired and available; without an error, or: there is no such name.
    let flags = [0x81, if known { 0x80 } else { 0x83 }];
    let mut answer = [&query[..2], &flags, &[0, 1, 0, u8::from(found), 0, 0, 0, 0], question].concat();
    if found {
        // The name of the question, the same type and class, for a second, four bytes.
        answer.extend([&[0xC0, 12], &ADDRESS[..], &[0, 0, 0, 1, 0, 4, 127, 0, 0, 1]].concat());
    }
    answer
}
