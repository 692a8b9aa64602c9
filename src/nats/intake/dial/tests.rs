use std::{io::Write as _, net::Ipv4Addr};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    task::{LocalSet, spawn_local},
};

use super::*;
use crate::config::{Sources, load};

const INFO: &[u8] = b"INFO {\"server_name\":\"one\",\"headers\":true,\"max_payload\":4096}\r\n";

fn dialer(settings: &[(&str, &str)]) -> Dialer {
    let url = ("routes.a.webhook.url", "http://a/");
    let flags = settings.iter().chain([&url]);
    let flags = flags.map(|(key, value)| ((*key).to_owned(), (*value).to_owned(), "--set".to_owned()));
    let config = load(Sources { flags: flags.collect(), ..Sources::default() }).unwrap();
    Dialer::new(&config.nats, true, Clock::start(), None)
}

/// A server that does this with each connection; its address.
async fn server(script: impl AsyncFn(TcpStream) + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let script = Rc::new(script);
    spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let script = Rc::clone(&script);
            spawn_local(async move { script(stream).await });
        }
    });
    address
}

/// A server that says this at once, then reads on in silence until the client goes, or hangs up at once.
async fn saying(words: &'static [u8], hangs_up: bool) -> String {
    server(async move |mut stream| {
        // The client may have heard enough.
        drop(stream.write_all(words).await);
        if !hangs_up {
            drop(stream.read_to_end(&mut Vec::new()).await);
        }
    })
    .await
}

/// A server that lets everybody in, and tells what it was told.
async fn welcoming(told: Rc<RefCell<Vec<Value>>>) -> String {
    server(async move |mut stream| {
        stream.write_all(INFO).await.unwrap();
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        lines.read_line(&mut line).await.unwrap();
        told.borrow_mut().push(serde_json::from_str(line.strip_prefix("CONNECT ").unwrap()).unwrap());
        line.clear();
        lines.read_line(&mut line).await.unwrap();
        assert_eq!(line, "PING\r\n");
        let rest = b"+OK\r\nPING\r\nINFO {\"server_name\":\"two\"}\r\nPONG\r\nINFO {\"ldm\":true}\r\n";
        lines.get_mut().write_all(rest).await.unwrap();
        line.clear();
        lines.read_line(&mut line).await.unwrap();
        assert_eq!(line, "PONG\r\n");
        drop(lines.read_line(&mut line).await);
    })
    .await
}

/// Why a server that says this does not let us in.
async fn refusal(words: &'static [u8], hangs_up: bool, more: &[(&str, &str)]) -> String {
    let address = saying(words, hangs_up).await;
    let url = format!("nats://{address}");
    let error = dialer(&[&[("nats.url", &*url)], more].concat()).connect().await.unwrap_err().to_string();
    error.strip_prefix(&format!("{address}: ")).unwrap_or_else(|| panic!("{error}")).to_owned()
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bounded = async { tokio::time::timeout(Duration::from_secs(4), test).await.unwrap() };
    LocalSet::new().block_on(&runtime, bounded);
}

/// The same, and no time passes while nothing else happens.
fn run_at_once(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

#[test]
fn a_server_that_welcomes_us() {
    run(async {
        let told = Rc::default();
        let address = welcoming(Rc::clone(&told)).await;
        let url = format!("nats://u:p@{address}");
        let established = dialer(&[("nats.url", &url), ("nats.name", "me")]).connect().await.unwrap();
        assert_eq!((established.info.server_name.as_str(), established.server), ("two", address));
        assert!(matches!(established.stream, Stream::Plain(_)));
        let said = told.borrow();
        assert_eq!(
            (&said[0]["name"], &said[0]["user"], &said[0]["pass"]),
            (&"me".into(), &"u".into(), &"p".into())
        );
    });
}

#[test]
fn what_a_server_has_against_us_is_said() {
    run(async {
        for (words, hangs_up, cause) in [
            (&b"-ERR 'Maximum Connections Exceeded'\r\n"[..], true, "maximum connections exceeded"),
            (b"-ERR 'a\x1b[2Jb'\r\n", false, "a [2jb"),
            (b"INFO {}\r\n-ERR 'Authorization Violation'\r\n", true, "authorization violation"),
            (b"INFO {}\r\n-ERR 'Authorization Violation'\r\n", false, "authorization violation"),
            (b"INFO {}\r\nMSG a 1 0\r\n\r\n", false, "it sends messages before the login"),
            (b"INFO x\x07\r\n", false, "its INFO is no JSON: \"x\""),
            (b"PING\r\n", false, "it does not begin with INFO"),
            (
                b"",
                true,
                "it closes the connection before INFO (nats.tls.handshake_first is for those that expect TLS first)",
            ),
        ] {
            assert_eq!(refusal(words, hangs_up, &[]).await, cause);
        }
        let error = refusal(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", true, &[]).await;
        assert!(error.contains("\"HTTP/1.1 400 Bad Request"), "{error}");
        let error = refusal(b"\x16\x03\x01\x00\xff\n", false, &[]).await;
        assert!(error.contains("\\u{16}\\u{3}") || error.contains("\\x16\\x03"), "{error}");
        let error = refusal(b"INFO {}\r\n", true, &[]).await;
        assert!(error.contains("closes the connection at the login") || error.contains("broke"), "{error}");
    });
}

#[test]
fn a_server_that_goes_on_for_ever_is_left() {
    run(async {
        let endless = async |words: &'static [u8]| {
            let address = server(async move |mut stream| {
                stream.write_all(INFO).await.unwrap();
                while stream.write_all(words).await.is_ok() {}
            });
            let url = format!("nats://{}", address.await);
            dialer(&[("nats.url", &url)]).connect().await.unwrap_err().to_string()
        };
        let error = endless(b"+OK\r\n").await;
        assert!(error.ends_with(": it says anything but PONG"), "{error}");
        let error = endless(b"INFO {} ").await;
        assert!(error.len() < 400 && error.contains("INFO {} INFO {}"), "{error}");
    });
}

#[test]
fn silence_ends_with_what_was_waited_for() {
    run_at_once(async {
        let hint = " (nats.tls.handshake_first is for those that expect TLS first)";
        assert_eq!(refusal(b"", false, &[]).await, format!("no INFO within 5s{hint}"));
        assert_eq!(refusal(b"INFO {", false, &[]).await, format!("no INFO within 5s{hint}"));
    });
}

#[test]
fn several_that_do_not_answer_do_not_add_up() {
    run_at_once(async {
        let servers = [saying(b"", false).await, saying(b"", false).await, saying(b"", false).await];
        let url = servers.each_ref().map(|address| format!("nats://{address}")).join(",");
        let began = Instant::now();
        let error = dialer(&[("nats.url", &url)]).connect().await.unwrap_err().to_string();
        let parts: Vec<_> = error.split(", ").collect();
        for (part, address) in parts.iter().zip(&servers) {
            assert!(part.starts_with(&format!("{address}: no INFO within 5s")), "{error}");
        }
        assert!(
            parts.len() == 3 && began.elapsed() < Duration::from_secs(6),
            "{error} {:?}",
            began.elapsed()
        );
    });
}

#[test]
fn one_that_does_not_answer_holds_nobody_up_for_long() {
    run(async {
        let (silent, told) = (saying(b"", false).await, Rc::default());
        let good = welcoming(Rc::clone(&told)).await;
        let url = format!("nats://{silent},nats://{good}");
        // Whichever comes first by chance.
        for _ in 0..4 {
            let established = dialer(&[("nats.url", &url)]).connect().await.unwrap();
            assert_eq!(established.server, good);
        }
    });
}

#[test]
fn tls_is_not_given_up() {
    run(async {
        let address = saying(b"INFO {\"tls_available\":false}\r\n", false).await;
        let url = format!("tls://{address}");
        let error = dialer(&[("nats.url", &url)]).connect().await.unwrap_err().to_string();
        assert_eq!(error, format!("{address}: it does not offer TLS, which the configuration asks for"));
        let error = refusal(b"INFO {\"tls_required\":true}\r\nINFO {}\r\n", false, &[]).await;
        assert_eq!(error, "it says something in plain text before TLS");
        let error = refusal(b"INFO {\"tls_required\":true}\r\n", true, &[]).await;
        assert!(error.starts_with("TLS: "), "{error}");
        let error = refusal(INFO, false, &[("nats.tls.handshake_first", "true")]).await;
        assert!(error.starts_with("TLS: the port does not speak TLS"), "{error}");
    });
}

#[test]
fn a_login_is_read_for_each_connection() {
    run(async {
        let told = Rc::default();
        let address = welcoming(Rc::clone(&told)).await;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display().to_string();
        writeln!(file, "one").unwrap();
        let url = format!("nats://{address}");
        let dialer = dialer(&[("nats.url", &url), ("nats.token_file", &path)]);
        dialer.connect().await.unwrap();
        std::fs::write(&path, "two").unwrap();
        dialer.connect().await.unwrap();
        let tokens: Vec<_> = told.borrow().iter().map(|said| said["auth_token"].clone()).collect();
        assert_eq!(tokens, ["one", "two"]);
        drop(file);
        let error = dialer.connect().await.unwrap_err().to_string();
        assert_eq!(error, format!("{address}: cannot read {path}: No such file or directory (os error 2)"));
        assert_eq!(told.borrow().len(), 2);
    });
}

#[test]
fn names_lead_to_addresses_and_may_be_unknown() {
    run(async {
        let told = Rc::default();
        let address = welcoming(told).await;
        let url = format!("nats://{}", address.replace("127.0.0.1", "localhost"));
        dialer(&[("nats.url", &url)]).connect().await.unwrap();
        let error = dialer(&[("nats.url", "nats://no-such-host.invalid")]).connect().await.unwrap_err();
        assert!(error.to_string().starts_with("no-such-host.invalid:4222: looking up "), "{error}");
    });
}

#[test]
fn what_is_the_same_for_all_addresses_is_said_once() {
    let failed = |causes: &[&str]| -> Vec<_> {
        let cause = |(last, cause): (u8, &&str)| (([10, 0, 0, last], 4222).into(), (*cause).to_owned());
        (0..).zip(causes).map(cause).collect()
    };
    assert_eq!(told(&failed(&["refused", "refused"])), "refused");
    assert_eq!(told(&failed(&["refused", "b", "a"])), "a (10.0.0.2), b (10.0.0.1), refused (10.0.0.0)");
}

#[test]
fn an_error_names_so_many_servers() {
    let failures = (1..=10).map(|number| (format!("n{number}:4222"), "x".to_owned())).collect();
    let error = ConnectError(failures).to_string();
    assert!(
        error.starts_with("n1:4222: x, n2:4222: x, ") && error.ends_with("n8:4222: x, and 2 more"),
        "{error}"
    );
}
