//! What a dead letter may do to the terminal of whoever looks at it: nothing.

use std::{
    fs::File,
    io::Read as _,
    os::fd::OwnedFd,
    process::{Command, Stdio},
    thread,
};

use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use serde_json::Value;
use testkit::{daemon, nats::NatsServer, stage::Stage, webhook::Webhook};

use super::kept;

/// What would clear the screen, set the title, answer as if it were typed, and turn text around; and what is harmless.
const PAYLOAD: &str = "1\u{1b}[2J\u{1b}]0;owned\u{7}2\u{9b}31m\r3\u{202e}4\n\ttodo: é \u{1f41f}";
const CLEANED: &str = "1·[2J·]0;owned·2·31m·3·4\n\ttodo: é \u{1f41f}";

/// What a terminal is sent by the program with these arguments.
fn on_a_terminal(nats: &NatsServer, arguments: &[&str]) -> String {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
    grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("it is ours");
    let name = ptsname(&ours, Vec::new()).expect("it has a name");
    let its = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("it can be opened");
    let mut command = Command::new(daemon::binary());
    command.args(arguments).env_clear().envs(environment(nats));
    command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(its);
    let reader = thread::spawn(move || read_all(ours));
    let status = command.status().expect("the binary runs");
    // The terminal ends with the last who has it open.
    drop(command);
    assert!(status.success(), "{status}");
    // A terminal makes two characters of a line break.
    reader.join().expect("it reads").replace("\r\n", "\n")
}

fn read_all(terminal: OwnedFd) -> String {
    let (mut terminal, mut read) = (File::from(terminal), Vec::new());
    let mut buffer = [0; 4096];
    // Linux answers with an error where the other end is closed.
    while let Ok(count @ 1..) = terminal.read(&mut buffer) {
        read.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(read).expect("it is text")
}

fn environment(nats: &NatsServer) -> [(&'static str, String); 3] {
    [
        ("NATS_URL", nats.url()),
        ("WEBHOOK_URL", "http://127.0.0.1:1/".to_owned()),
        ("BROADCASTER__ROUTES__DEFAULT__DEAD_LETTER__STREAM", super::STREAM.to_owned()),
    ]
}

#[tokio::test]
async fn a_terminal_is_not_told_what_to_do() {
    let hook = Webhook::answering([400]);
    let mut stage = Stage::set(&hook.url(), kept).await;
    stage.publish_with(&[("Nats-Msg-Id", "order-7"), ("X-Odd", "a\u{9b}31mb")], PAYLOAD).await;
    super::wait_count(&stage.nats, 1).await;
    stage.close().await;
    let nats = &stage.nats;

    let shown = on_a_terminal(nats, &["dead-letters", "show", "order-7"]);
    assert!(shown.ends_with(&format!("\n\n{CLEANED}\n")), "{shown:?}");
    assert!(shown.contains("X-Odd: a·31mb\n"), "{shown:?}");

    let json = on_a_terminal(nats, &["dead-letters", "show", "order-7", "--json"]);
    let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!json.contains(obeyed), "{json:?}");
    let value: Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(value["payload"], PAYLOAD);

    // A program gets the payload as it is.
    let environment = environment(nats);
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let piped = daemon::run(&["dead-letters", "show", "order-7"], &environment);
    let piped = String::from_utf8(piped.stdout).expect("it is text");
    assert!(piped.ends_with(&format!("\n\n{PAYLOAD}\n")), "{piped:?}");
}
