//! `broadcaster health`: the probe for orchestrators that start a program instead of asking over HTTP.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Output;
use std::time::Instant;

use testkit::daemon::{Daemon, run};
use testkit::stage::Stage;

/// Asks the API at this address.
fn probe(arguments: &[&str], api: impl std::fmt::Display) -> (Option<i32>, String) {
    let url = format!("http://{api}");
    said(&run(&[&["health", "--url", &url], arguments].concat(), &[]))
}

fn said(output: &Output) -> (Option<i32>, String) {
    assert!(output.stdout.is_empty(), "a probe is silent: {output:?}");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn a_ready_daemon_is_well() {
    let stage = Stage::set("http://127.0.0.1:1/", |daemon| daemon).await;
    let api = stage.daemon.api();
    assert_eq!(probe(&[], api), (Some(0), String::new()));
    assert_eq!(probe(&["--live"], api), (Some(0), String::new()));
    // As in a container, where the probe has the daemon's environment.
    let env = [("BROADCASTER__SERVER__API", &*api.to_string()), ("WEBHOOK_URL", "http://127.0.0.1:1/")];
    assert_eq!(said(&run(&["health"], &env)), (Some(0), String::new()));
    let everywhere = format!("0.0.0.0:{}", api.port());
    let env = [("BROADCASTER__SERVER__API", &*everywhere), ("WEBHOOK_URL", "http://127.0.0.1:1/")];
    assert_eq!(said(&run(&["health", "--live"], &env)), (Some(0), String::new()));
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let daemon =
        Daemon::new().env("NATS_URL", "nats://127.0.0.1:1").env("WEBHOOK_URL", "http://127.0.0.1:1/");
    let daemon = daemon.start().await;
    let (status, reasons) = probe(&[], daemon.api());
    assert_eq!(status, Some(1), "{reasons}");
    assert!(reasons.starts_with("lane 0 is not connected to NATS"), "{reasons}");
    assert_eq!(probe(&["--live"], daemon.api()), (Some(0), String::new()), "NATS is no reason for a restart");
}

/// The settings may have become wrong since the daemon was started, which is well all the same.
#[tokio::test]
async fn wrong_settings_make_no_daemon_unwell() {
    let stage = Stage::set("http://127.0.0.1:1/", |daemon| daemon).await;
    let api = stage.daemon.api();
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = directory.path().join("broadcaster.toml");
    let path = file.to_str().expect("its name is text");
    for wrong in ["", "surprise = 1\n", "[routes.a.webhook]\nurl_file = \"/nowhere\"\n", "url = \"http://x\n"]
    {
        std::fs::write(&file, format!("{wrong}[server]\napi = \"{api}\"\n")).expect("it can be written");
        let output = run(&["health", "--live", "--config", path], &[("LOG_LEVEL", "loud")]);
        assert_eq!(said(&output), (Some(0), String::new()), "with {wrong:?}");
    }
    // Where the file is away, the other layers are asked.
    std::fs::remove_file(&file).expect("it is there");
    let env = [("BROADCASTER_CONFIG", path), ("BROADCASTER__SERVER__API", &*api.to_string())];
    assert_eq!(said(&run(&["health"], &env)), (Some(0), String::new()));
    let flag = format!("server.api={api}");
    assert_eq!(said(&run(&["health", "--config", path, "--set", &flag], &[])), (Some(0), String::new()));
    assert_eq!(said(&run(&["health", "--url", &api.to_string()], &[])), (Some(0), String::new()));
}

#[test]
fn a_probe_of_nothing_fails() {
    let nobody =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let (status, complaint) = probe(&[], nobody);
    assert_eq!(status, Some(1));
    assert!(complaint.starts_with(&format!("cannot reach {nobody}: Connection refused")), "{complaint}");

    // It listens, and never accepts.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("it has an address");
    let begin = Instant::now();
    assert_eq!(probe(&[], address), (Some(1), format!("no answer from {address} within 5 s\n")));
    assert!(begin.elapsed().as_secs() < 15, "a probe does not wait for long");

    let (status, complaint) = said(&run(&["health", "--url", "ftp://127.0.0.1"], &[]));
    let wanted = "error: --url: expected http://HOST:PORT, https://HOST:PORT or HOST:PORT\n";
    assert_eq!((status, &*complaint), (Some(2), wanted));
}

#[test]
fn something_else_at_the_port_is_not_the_daemon() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = other.local_addr().expect("it has an address");
    let answers: [&[u8]; 3] = [
        b"220 mail.example.com ESMTP\r\n",
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 5\r\n\r\nsorry",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n",
    ];
    let serving = std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _peer) = other.accept().expect("a client comes");
            let asked = stream.read(&mut [0; 1024]).expect("it asks");
            assert!(asked > 0, "it went away");
            stream.write_all(answer).expect("the client reads");
        }
    });
    for expected in
        ["does not answer as broadcaster does", "answers 503", "does not answer as broadcaster does"]
    {
        let (status, complaint) = probe(&[], address);
        assert_eq!(status, Some(1), "{complaint}");
        assert!(complaint.contains(expected), "{complaint}");
    }
    serving.join().expect("all were served");
}
