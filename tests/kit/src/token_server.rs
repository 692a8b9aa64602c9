//! A real OAuth 2 server for one test, oidc-provider, with a webhook beside it that asks it about each token.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{http, process};

/// A server that gives out tokens to two clients, `by header` and `by body`. Killed on drop.
pub struct TokenServer {
    address: SocketAddr,
    seconds: u32,
    process: process::Process,
}

/// What has come since it was started last.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// How often it was asked for a token.
    pub fetches: usize,
    /// How many such requests were under way together at most.
    pub most_at_once: usize,
    /// What they were answered.
    pub statuses: Vec<u16>,
    /// Requests to the webhook that it did not let in.
    pub unauthorized: usize,
    /// The ids of those that it did.
    pub delivered: Vec<String>,
    /// The tokens that the webhook has seen.
    pub tokens: Vec<String>,
    /// What those were good for that it has let in.
    pub scopes: Vec<String>,
}

impl TokenServer {
    /// The secret of its clients.
    pub const SECRET: &str = "s3cret: of & client";

    /// Its tokens live for `seconds`.
    pub fn start(seconds: u32) -> Self {
        let (address, process) = spawn(0, seconds);
        Self { address, seconds, process }
    }

    /// Where tokens are.
    pub fn token_url(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// Where the webhook is.
    pub fn hook_url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Ends it: nobody listens there any more, and what it has given out is forgotten.
    pub fn stop(&mut self) {
        self.process.kill();
    }

    /// Starts it again, at the same address.
    pub fn restart(&mut self) {
        (self.address, self.process) = spawn(self.address.port(), self.seconds);
    }

    /// What has come.
    pub async fn state(&self) -> State {
        self.control("state").await
    }

    /// What has come once `is_it` holds for it; a panic where it does not within `deadline`.
    pub async fn wait(&self, is_it: impl Fn(&State) -> bool, deadline: Duration) -> State {
        const LOOK: Duration = Duration::from_millis(20);
        let end = Instant::now() + deadline;
        loop {
            let state = self.state().await;
            if is_it(&state) {
                return state;
            }
            assert!(
                Instant::now() < end,
                "{} let in, {} refused, {} fetches",
                state.delivered.len(),
                state.unauthorized,
                state.fetches
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// From now on the webhook lets nobody in.
    pub async fn refuse(&self) {
        self.control("refuse").await;
    }

    /// From now on the webhook takes none of the tokens that it has seen.
    pub async fn revoke(&self) {
        self.control("revoke").await;
    }

    /// From now on each token takes so long.
    pub async fn delay(&self, millis: u32) {
        self.control(&format!("delay/{millis}")).await;
    }

    async fn control(&self, action: &str) -> State {
        let answer = http::get(self.address, &format!("/control/{action}")).await;
        let answer = answer.unwrap_or_else(|error| panic!("the token server does not answer: {error}"));
        serde_json::from_str(&answer.body).expect("it answers with what has come")
    }
}

fn spawn(port: u16, seconds: u32) -> (SocketAddr, process::Process) {
    let mut command = Command::new(process::tool("oidc-provider", "OIDC_PROVIDER_RUN"));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/token_server.mjs"));
    command.args([port.to_string(), seconds.to_string()]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = process::Process::spawn("oidc-provider", &mut command);
    let line = BufReader::new(process.take_stdout()).lines().next();
    let port = line.and_then(Result::ok).and_then(|line| line.parse().ok());
    let port: u16 = port.expect("the token server says its port");
    (([127, 0, 0, 1], port).into(), process)
}
