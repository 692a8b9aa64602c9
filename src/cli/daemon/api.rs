//! One daemon, as the commands ask its API: one request over a connection of its own, or a stream of events.

use std::{error::Error, io, path::Path, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{
    Method, Response,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::rustls::{
    ClientConfig,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::{DaemonError, PATIENCE, options::DaemonOptions, refused};
use crate::{
    base::network::{
        cause,
        trust::{system_roots, trusting},
    },
    cli::health::{self, Asked, Connection},
    config::{self, ApiToken, Secret, Sources},
    control::service::acts::{Act, Question, Request},
};

/// The variable that names the file with the token, beside the option.
const TOKEN_FILE: &str = "BROADCASTER_TOKEN_FILE";
/// How long a connection may take.
const CONNECTING: Duration = Duration::from_secs(5);
/// How many bytes of an answer are read: it may be a stranger that answers.
const LONGEST_ANSWER: usize = 16 << 20;
/// No event is longer, in bytes.
const LONGEST_EVENT: usize = 1 << 20;

/// A daemon that can be asked.
pub(in crate::cli) struct Daemon {
    apis: Vec<Asked>,
    /// The certificates that are trusted beside those of the system.
    trusted: Vec<CertificateDer<'static>>,
    token: Option<Secret>,
}

impl Daemon {
    /// The one that `options` name, or else `sources`, which need not be a good configuration.
    ///
    /// # Errors
    /// The URL is none, or there is no token where it is said to be.
    pub(in crate::cli) fn new(options: &DaemonOptions, sources: Sources) -> Result<Self, DaemonError> {
        let variable = sources.env.iter().find(|(name, value)| name == TOKEN_FILE && !value.is_empty());
        let file = options.token_file.clone().or_else(|| variable.map(|(_, file)| file.into()));
        let apis = match &options.url {
            Some(url) => vec![health::named(url).map_err(|_wrong| DaemonError::Url)?],
            None => health::local(config::api_address(sources)),
        };
        let trusted = options.ca_file.as_deref().map(certificates).transpose()?.unwrap_or_default();
        Ok(Self { apis, trusted, token: file.as_deref().map(token).transpose()? })
    }

    /// Asks for `act`, and reads what is answered.
    ///
    /// # Errors
    /// Why it was not done.
    pub(in crate::cli) async fn ask(&self, act: Act, question: Question) -> Result<Value, DaemonError> {
        let request = act.request(question).map_err(|error| DaemonError::Problem(error.to_string()))?;
        let (head, authority) = self.exchange(request).await?;
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
    pub(in crate::cli) async fn events(&self, path: &str) -> Result<Events, DaemonError> {
        let request = Request { method: Method::GET, target: path.to_owned(), body: None };
        let (answer, authority) = self.exchange(request).await?;
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
        Request { method, target, body }: Request,
    ) -> Result<(Response<Incoming>, String), DaemonError> {
        let (stream, authority) = self.connect().await?;
        let garbage = |error: Box<dyn Error + Send + Sync>| DaemonError::Garbage(authority.to_owned(), error);
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut requests, connection) = handshake.map_err(|error| garbage(error.into()))?;
        drop(tokio::task::spawn_local(connection));
        let mut request = http::Request::builder().method(method).uri(target).header(HOST, authority);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request.body(Full::new(body)).map_err(|error| garbage(error.into()))?;
        let answered = timeout(PATIENCE, requests.send_request(request)).await;
        let answered = answered.map_err(|_late| DaemonError::Silent(authority.to_owned()))?;
        Ok((answered.map_err(|error| garbage(error.into()))?, authority.to_owned()))
    }

    async fn connect(&self) -> Result<(Box<dyn Connection>, &str), DaemonError> {
        let mut failed = DaemonError::Url;
        for api in &self.apis {
            let connecting = timeout(CONNECTING, async {
                let stream = TcpStream::connect(api.authority()).await?;
                let in_words = |error| io::Error::other(cause::of_handshake(&error, "--ca-file"));
                api.encrypt(stream, || self.trust()).await.map_err(in_words)
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

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, DaemonError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.ok()
        .filter(|all| !all.is_empty())
        .ok_or_else(|| DaemonError::Authorities(file.display().to_string()))
}

/// What is in `file`, where it may be a token: what is none would be sent for nothing.
fn token(file: &Path) -> Result<Secret, DaemonError> {
    ApiToken::read(file).map_err(DaemonError::Token)
}

/// What comes in time (Server-Sent Events).
pub(in crate::cli) struct Events {
    body: Incoming,
    read: BytesMut,
    authority: String,
}

/// An event: its name, and what it says.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct Event {
    /// `message` where it has no other name.
    pub(in crate::cli) name: String,
    /// What its `data` lines say, joined by line feeds.
    pub(in crate::cli) data: String,
}

impl Events {
    /// The next one; none where the daemon has ended.
    ///
    /// # Errors
    /// What comes is no event.
    pub(in crate::cli) async fn next(&mut self) -> Result<Option<Event>, DaemonError> {
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
}
