//! `broadcaster health`: asks a running daemon how it is, as a supervisor's probe would. An image needs no shell for it.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, header::HOST};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use thiserror::Error;
use tokio::{net::TcpStream, time::timeout};
use url::Url;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of an answer is read.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Which question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether it takes messages.
    Ready,
    /// Whether it need not be restarted.
    Live,
}

/// The daemon's answer was not a good one, or there was none.
#[derive(Debug, Error)]
pub enum HealthError {
    /// No runtime.
    #[error("cannot start a runtime: {0}")]
    Runtime(#[from] io::Error),
    /// A URL that names no API.
    #[error("error: --url: expected http://HOST:PORT")]
    Url,
    /// Nobody listens there, most likely.
    #[error("cannot reach {0}: {1}")]
    Unreachable(String, #[source] io::Error),
    /// Something listens, and says nothing.
    #[error("no answer from {0} within 5 s")]
    Silent(String),
    /// Something else than the daemon listens.
    #[error("{0} does not answer as broadcaster does: {1}")]
    Garbage(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// Why it is not well, one reason a line.
    #[error("{}", .0.join("\n"))]
    Unwell(Vec<String>),
}

/// Whom a probe asks on the machine of a daemon whose API listens on `address`.
pub fn local(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address.to_string()
}

/// Whom a probe of this URL asks.
pub fn named(url: &Url) -> Result<String, HealthError> {
    match (url.scheme(), url.host_str(), url.port_or_known_default()) {
        ("http", Some(host), Some(port)) => Ok(format!("{host}:{port}")),
        _ => Err(HealthError::Url),
    }
}

/// Asks the API at `authority`, a host and a port. Needs a runtime that takes local tasks.
pub async fn ask(authority: &str, question: Question) -> Result<(), HealthError> {
    let asked = timeout(PATIENCE, exchange(authority, question)).await;
    let (status, body) = asked.map_err(|_late| HealthError::Silent(authority.to_owned()))??;
    if status.is_success() {
        return Ok(());
    }
    let reasons = serde_json::from_slice(&body).map_or_else(|_| Vec::new(), |Reasons { reasons }| reasons);
    Err(HealthError::Unwell(if reasons.is_empty() {
        vec![format!("{authority} answers {status}")]
    } else {
        reasons
    }))
}

#[derive(Deserialize)]
struct Reasons {
    reasons: Vec<String>,
}

async fn exchange(authority: &str, question: Question) -> Result<(http::StatusCode, Bytes), HealthError> {
    let garbage = |error| HealthError::Garbage(authority.to_owned(), error);
    let path = match question {
        Question::Ready => "/health",
        Question::Live => "/healthz",
    };
    let stream = TcpStream::connect(authority).await;
    let stream = stream.map_err(|error| HealthError::Unreachable(authority.to_owned(), error))?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut requests, connection) = handshake.map_err(|error| garbage(error.into()))?;
    drop(tokio::task::spawn_local(connection));
    let request = Request::get(path).header(HOST, authority).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| garbage(error.into()))?;
    let answer = requests.send_request(request).await.map_err(|error| garbage(error.into()))?;
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, LONGEST_ANSWER).collect().await.map_err(garbage)?;
    Ok((head.status, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::{local, named};

    #[test]
    fn a_probe_asks_this_machine_where_the_api_listens_everywhere() {
        for (listens, asked) in
            [("0.0.0.0:8002", "127.0.0.1:8002"), ("[::]:8002", "[::1]:8002"), ("10.1.2.3:80", "10.1.2.3:80")]
        {
            assert_eq!(local(listens.parse().expect("an address")), asked);
        }
    }

    #[test]
    fn a_url_names_a_host_and_a_port() {
        for (url, asked) in [
            ("http://127.0.0.1:8002", Some("127.0.0.1:8002")),
            ("http://[::1]:8002/health", Some("[::1]:8002")),
            ("http://broadcaster-svc", Some("broadcaster-svc:80")),
            ("https://127.0.0.1:8002", None),
            ("data:text", None),
        ] {
            assert_eq!(named(&url.parse().expect("a URL")).ok().as_deref(), asked, "{url}");
        }
    }
}
