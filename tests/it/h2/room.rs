//! A server that allows no streams for a while: who waits for one has it as soon as it may be.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use testkit::stage::Stage;

use super::http2;
use super::raw::{END_STREAM, HEADERS, OK, PREFACE, SETTINGS, frame, headers};

/// `SETTINGS_MAX_CONCURRENT_STREAMS`.
fn most_streams(most: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&[0, 3], &most.to_be_bytes()[..]].concat())
}

/// Answers each request well, and allows no more with the first answer.
fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.read_exact(&mut [0; PREFACE.len()])?;
    stream.write_all(&most_streams(1))?;
    let mut is_first = true;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        stream.read_exact(&mut vec![0; length])?;
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if head[3] > HEADERS || head[4] & END_STREAM == 0 {
            continue;
        }
        if std::mem::take(&mut is_first) {
            stream.write_all(&most_streams(0))?;
        }
        stream.write_all(&headers(id, OK, true))?;
    }
}

#[tokio::test]
async fn whoever_waits_for_a_stream_has_it_when_the_server_allows_one_again() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the system has a free port");
    let url = format!("http://{}/hook", listener.local_addr().expect("a listener has an address"));
    let (connected, mut connections) = tokio::sync::mpsc::channel(8);
    // It ends with the test's process: nothing of it is waited for.
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let shared = stream.try_clone().expect("a socket can be shared");
            connected.blocking_send(shared).expect("the test takes it");
            std::thread::spawn(move || serve(stream).ok());
        }
    });
    let described = |daemon| http2(daemon).route("webhook.concurrency", "1").route("webhook.timeout", "40s");
    let mut stage = Stage::set(&url, described).await;
    stage.publish("0").await;
    stage.wait_processed(1).await;
    stage.publish("1").await;
    stage.daemon.wait_metrics(|metrics| metrics.sum("broadcaster_in_flight", &[]) == 1.0, SOON).await;
    let mut connection = connections.recv().await.expect("there is one");
    connection.write_all(&most_streams(1)).expect("it is there still");
    stage.wait_processed(2).await;
    stage.assert_codes([("200", 2)]).await;
    stage.close().await;
}

const SOON: Duration = Duration::from_secs(20);
