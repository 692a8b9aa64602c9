//! The API of a running daemon, as the commands ask it: one request over a connection of its own, or a stream of events.

pub mod options;

use std::{error::Error, fs, io, path::Path, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{
    Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use thiserror::Error;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::rustls::{
    ClientConfig,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use self::options::DaemonOptions;
use super::health::{self, Asked, Connection};
use crate::{
    base::network::trust::{system_roots, trusting},
    config::{self, Sources},
};

/// The variable that names the file with the token, beside the option.
const TOKEN_FILE: &str = "BROADCASTER_TOKEN_FILE";
/// How long the daemon may take to answer. An act may take it 30 seconds.
const PATIENCE: Duration = Duration::from_secs(35);
/// How long a connection may take.
const CONNECTING: Duration = Duration::from_secs(5);
/// How many bytes of an answer are read: it may be a stranger that answers.
const LONGEST_ANSWER: usize = 16 << 20;
/// No event is longer, in bytes.
const LONGEST_EVENT: usize = 1 << 20;

/// The daemon did not do what it was asked for.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// The URL of `--url` is neither `http` nor `https`, or has no host.
    #[error("--url: expected http://HOST:PORT, https://HOST:PORT or HOST:PORT")]
    Url,
    /// The token can't be read.
    #[error("cannot read the token in {0}: {1}")]
    Token(String, #[source] io::Error),
    /// There are no certificates in the file of `--ca-file`.
    #[error("--ca-file: expected certificates in PEM in {0}")]
    Authorities(String),
    /// Nobody listens there, most likely.
    #[error("cannot reach the daemon at {0}: {1}")]
    Unreachable(String, #[source] io::Error),
    /// Something listens, and has not answered in time.
    #[error("no answer from {0}")]
    Silent(String),
    /// Something listens that does not answer as the daemon does.
    #[error("{0} does not answer as broadcaster does: {1}")]
    Garbage(String, #[source] Box<dyn Error + Send + Sync>),
    /// The daemon wants a token, or another one.
    #[error("refused: {0}")]
    Refused(String),
    /// The daemon says why not.
    #[error("{0}")]
    Problem(String),
    /// Nobody reads the output any more, or the system refuses a runtime.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl DaemonError {
    /// The status of the process.
    pub fn exit_status(&self) -> u8 {
        match self {
            // EX_UNAVAILABLE and EX_NOPERM of sysexits.h.
            Self::Unreachable(..) | Self::Silent(_) => 69,
            Self::Refused(_) => 77,
            Self::Url => 2,
            // Whoever read the output has seen enough.
            Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            _ => 1,
        }
    }
}

/// What the API says of what it does not do (RFC 9457).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
    mistakes: Vec<String>,
}

/// A daemon that can be asked.
pub struct Daemon {
    apis: Vec<Asked>,
    /// The certificates that are trusted beside those of the system.
    trusted: Vec<CertificateDer<'static>>,
    token: Option<SecretString>,
}

impl Daemon {
    /// The one that `options` name, or else `sources`, which need not be a good configuration.
    ///
    /// # Errors
    /// The URL is none, or there is no token where it is said to be.
    pub fn new(options: &DaemonOptions, sources: Sources) -> Result<Self, DaemonError> {
        let variable = sources.env.iter().find(|(name, value)| name == TOKEN_FILE && !value.is_empty());
        let file = options.token_file.clone().or_else(|| variable.map(|(_, file)| file.into()));
        let apis = match &options.url {
            Some(url) => vec![health::named(url).map_err(|_wrong| DaemonError::Url)?],
            None => health::local(config::api_address(sources)),
        };
        let trusted = options.ca_file.as_deref().map(certificates).transpose()?.unwrap_or_default();
        Ok(Self { apis, trusted, token: file.as_deref().map(token).transpose()? })
    }

    /// Asks for `path`, and reads what is answered.
    ///
    /// # Errors
    /// Why there is no good answer.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, DaemonError> {
        self.call(Method::GET, path, None).await
    }

    /// Has something done, with a body where there is something to say, and reads what is answered.
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, DaemonError> {
        let (head, authority) = self.exchange(method, path, body).await?;
        let garbage = |error| DaemonError::Garbage(authority.clone(), error);
        let (head, answer) = head.into_parts();
        let body = Limited::new(answer, LONGEST_ANSWER).collect();
        let body = timeout(PATIENCE, body).await.map_err(|_late| DaemonError::Silent(authority.clone()))?;
        let body = body.map_err(garbage)?.to_bytes();
        if !head.status.is_success() {
            return Err(refused(head.status, &body, &authority));
        }
        serde_json::from_slice(&body).map_err(|error| garbage(error.into()))
    }

    /// The events of `path`, for as long as the daemon sends some.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn events(&self, path: &str) -> Result<Events, DaemonError> {
        let (answer, authority) = self.exchange(Method::GET, path, None).await?;
        let (head, body) = answer.into_parts();
        if !head.status.is_success() {
            let problem = Limited::new(body, LONGEST_ANSWER).collect().await;
            let problem = problem.map(|body| body.to_bytes()).unwrap_or_default();
            return Err(refused(head.status, &problem, &authority));
        }
        Ok(Events { body, read: BytesMut::new(), authority })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(Response<Incoming>, String), DaemonError> {
        let (stream, authority) = self.connect().await?;
        let garbage = |error: Box<dyn Error + Send + Sync>| DaemonError::Garbage(authority.to_owned(), error);
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut requests, connection) = handshake.map_err(|error| garbage(error.into()))?;
        drop(tokio::task::spawn_local(connection));
        let mut request = Request::builder().method(method).uri(path).header(HOST, authority);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        // What is wrong with a header would be shown with it.
        let request = request.body(Full::new(body)).map_err(|_wrong| garbage("the token is none".into()))?;
        let answered = timeout(PATIENCE, requests.send_request(request)).await;
        let answered = answered.map_err(|_late| DaemonError::Silent(authority.to_owned()))?;
        Ok((answered.map_err(|error| garbage(error.into()))?, authority.to_owned()))
    }

    async fn connect(&self) -> Result<(Box<dyn Connection>, &str), DaemonError> {
        let mut failed = DaemonError::Url;
        for api in &self.apis {
            let connecting = timeout(CONNECTING, async {
                let stream = TcpStream::connect(api.authority()).await?;
                api.encrypt(stream, || self.trust()).await
            });
            match connecting.await.unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => return Ok((stream, api.authority())),
                Err(error) => failed = DaemonError::Unreachable(api.authority().to_owned(), error),
            }
        }
        Err(failed)
    }

    /// A token is only for the daemon: it has to show a certificate that the system's authorities have signed, or one that
    /// `--ca-file` names.
    fn trust(&self) -> ClientConfig {
        let mut roots = system_roots().store;
        roots.add_parsable_certificates(self.trusted.iter().cloned());
        trusting(Arc::new(roots), &self.trusted).with_no_client_auth()
    }
}

/// The path of what is done with `route`.
pub(super) fn route_path(route: &str, act: &str) -> String {
    format!("/api/v1/routes/{}/{act}", utf8_percent_encode(route, NON_ALPHANUMERIC))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, DaemonError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.ok()
        .filter(|all| !all.is_empty())
        .ok_or_else(|| DaemonError::Authorities(file.display().to_string()))
}

fn token(file: &Path) -> Result<SecretString, DaemonError> {
    let token = fs::read_to_string(file).map(|token| SecretString::from(token.trim()));
    token.map_err(|error| DaemonError::Token(file.display().to_string(), error))
}

/// What the daemon says of what it does not do, in words.
fn refused(status: StatusCode, body: &[u8], authority: &str) -> DaemonError {
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    let mut words = match (problem.detail.as_str(), problem.title.as_str()) {
        ("", "") => format!("{authority} answers {status}"),
        ("", title) => title.to_owned(),
        (detail, _) => detail.to_owned(),
    };
    problem.mistakes.iter().for_each(|mistake| words.push_str(&format!("\n  {mistake}")));
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => DaemonError::Refused(words),
        _ => DaemonError::Problem(words),
    }
}

/// What comes in time (Server-Sent Events).
pub struct Events {
    body: Incoming,
    read: BytesMut,
    authority: String,
}

/// An event: its name, and what it says.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// `message` where it has no other name.
    pub name: String,
    /// What its `data` lines say, joined by line feeds.
    pub data: String,
}

impl Events {
    /// The next one; none where the daemon has ended.
    ///
    /// # Errors
    /// What comes is no event.
    pub async fn next(&mut self) -> Result<Option<Event>, DaemonError> {
        let garbage =
            |error: Box<dyn Error + Send + Sync>| DaemonError::Garbage(self.authority.clone(), error);
        loop {
            while let Some(end) = self.read.windows(2).position(|pair| pair == b"\n\n") {
                let block = self.read.split_to(end + 2);
                if let Some(event) = event(&String::from_utf8_lossy(&block)) {
                    return Ok(Some(event));
                }
            }
            if self.read.len() > LONGEST_EVENT {
                return Err(garbage("an event without an end".into()));
            }
            match self.body.frame().await {
                None => return Ok(None),
                // The daemon was stopped, most likely.
                Some(Err(_broken)) => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

/// The event in `block`; none where it is a comment, or only says when to come again.
fn event(block: &str) -> Option<Event> {
    let (mut name, mut data) = ("message", Vec::new());
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = value,
            "data" => data.push(value),
            _ => {}
        }
    }
    (!data.is_empty()).then(|| Event { name: name.to_owned(), data: data.join("\n") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_line_by_line() {
        let read = |name: &str, data: &str| Some(Event { name: name.to_owned(), data: data.to_owned() });
        assert_eq!(event("retry: 1000\nevent: status\ndata: {}\n\n"), read("status", "{}"));
        assert_eq!(event("data:a\ndata: b\n\n"), read("message", "a\nb"));
        assert_eq!(event(": nothing new\n\n"), None);
    }

    #[test]
    fn a_problem_is_told_in_its_own_words() {
        let told = |status: u16, body: &str| {
            let error = refused(StatusCode::from_u16(status).unwrap(), body.as_bytes(), "a:1");
            (error.exit_status(), error.to_string())
        };
        let detail = r#"{"title":"t","detail":"no route has this name"}"#;
        assert_eq!(told(404, detail), (1, "no route has this name".to_owned()));
        assert_eq!(told(401, r#"{"title":"t"}"#), (77, "refused: t".to_owned()));
        assert_eq!(told(502, "<html>"), (1, "a:1 answers 502 Bad Gateway".to_owned()));
        let mistakes = r#"{"detail":"wrong","mistakes":["a: b"]}"#;
        assert_eq!(told(422, mistakes), (1, "wrong\n  a: b".to_owned()));
    }
}
