//! Debian's Chromium, told what to do.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use testkit::process::tool;

/// How long anything may take that is not timed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page open. It ends with this.
pub(super) struct Browser {
    _child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) dark: bool,
    pub(super) width: u32,
}

pub(super) const DESK: Look = Look { dark: false, width: 1280 };
pub(super) const NIGHT: Look = Look { dark: true, width: 1280 };
pub(super) const PHONE: Look = Look { dark: false, width: 390 };

impl Browser {
    /// A browser that has `url` open.
    pub(super) async fn open(url: &str, look: Look) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/page/browser.cjs");
        let mut child = Command::new(tool("browser-node", "BROWSER_NODE"))
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node can be started");
        let commands = child.stdin.take().expect("it is piped");
        let answers = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut browser = Self { _child: child, commands, answers };
        browser.visit(url, look).await;
        browser
    }

    /// Has another page open.
    pub(super) async fn visit(&mut self, url: &str, look: Look) {
        let Look { dark, width } = look;
        self.tell(json!({"command": "open", "url": url, "dark": dark, "width": width})).await;
    }

    /// Waits until this expression holds on the page; how long that took.
    pub(super) async fn wait(&mut self, until: &str, within: Duration) -> Duration {
        let within = u64::try_from(within.as_millis()).expect("nobody waits for so long");
        let took = self.tell(json!({"command": "wait", "until": until, "within": within})).await;
        Duration::from_millis(took.as_u64().expect("it is a number"))
    }

    /// Waits until `text` stands on the page.
    pub(super) async fn reads(&mut self, text: &str) {
        let until = format!("document.body.innerText.includes({})", json!(text));
        self.wait(&until, PATIENCE).await;
    }

    /// The value of this expression on the page.
    pub(super) async fn evaluate(&mut self, expression: &str) -> Value {
        self.tell(json!({"command": "evaluate", "expression": expression})).await
    }

    /// Presses a key, by the names of browsers.
    pub(super) async fn press(&mut self, key: &str) {
        self.tell(json!({"command": "press", "key": key})).await;
    }

    /// Types `text`.
    pub(super) async fn type_in(&mut self, text: &str) {
        self.tell(json!({"command": "type", "text": text})).await;
    }

    /// Has the pointer over what this selects.
    pub(super) async fn hover(&mut self, selector: &str) {
        self.tell(json!({"command": "hover", "selector": selector})).await;
    }

    /// What axe-core finds wrong with the page as it is.
    pub(super) async fn axe(&mut self) -> Vec<String> {
        texts(&self.tell(json!({"command": "axe"})).await)
    }

    /// What pages have complained about since this was last asked.
    pub(super) async fn complaints(&mut self) -> Vec<String> {
        texts(&self.tell(json!({"command": "complaints"})).await)
    }

    async fn tell(&mut self, command: Value) -> Value {
        self.commands.write_all(format!("{command}\n").as_bytes()).await.expect("the browser reads");
        let answer = tokio::time::timeout(2 * PATIENCE, self.answers.next_line()).await;
        let answer = answer.ok().and_then(Result::ok).flatten();
        assert!(answer.is_some(), "the browser gives no answer to {command}");
        let mut answer: Value = serde_json::from_str(&answer.unwrap_or_default()).expect("it is JSON");
        assert!(answer["error"].is_null(), "{command}: {}", answer["error"].as_str().unwrap_or_default());
        answer["ok"].take()
    }
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().expect("it is a list");
    list.iter().map(|text| text.as_str().unwrap_or_default().to_owned()).collect()
}
