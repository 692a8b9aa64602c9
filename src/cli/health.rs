//! `broadcaster health`: asks a running daemon how it is, for probes that start a program. With it an image needs
//! neither a shell nor an HTTP client.

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
/// How many bytes of an answer are read: it may be a stranger that answers.
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
    /// The system refuses what a runtime needs.
    #[error("cannot start a runtime: {0}")]
    Runtime(#[from] io::Error),
    /// The URL of `--url` is not `http`, or has no host.
    #[error("error: --url: expected http://HOST:PORT")]
    Url,
    /// Nobody listens there, most likely.
    #[error("cannot reach {0}: {1}")]
    Unreachable(String, #[source] io::Error),
    /// Something listens, and has not answered within five seconds.
    #[error("no answer from {0} within 5 s")]
    Silent(String),
    /// Something listens that does not speak HTTP, or answers with more than the daemon ever does.
    #[error("{0} does not answer as broadcaster does: {1}")]
    Garbage(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// The daemon is not ready, or not alive: its own reasons, one a line.
    #[error("{}", .0.join("\n"))]
    Unwell(Vec<String>),
}

/// Whom a probe asks on the machine of a daemon whose API listens on `address`. An address such as `0.0.0.0` says where
/// to listen, and can't be asked itself.
pub fn local(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address.to_string()
}

/// Whom a probe of this URL asks: its host and port. Its path is ignored.
///
/// # Errors
/// [`HealthError::Url`] where it is not `http`, or has no host.
pub fn named(url: &Url) -> Result<String, HealthError> {
    match (url.scheme(), url.host_str(), url.port_or_known_default()) {
        ("http", Some(host), Some(port)) => Ok(format!("{host}:{port}")),
        _ => Err(HealthError::Url),
    }
}

/// Asks the API at `authority`, a host and a port. Needs a runtime that takes local tasks.
///
/// # Errors
/// [`HealthError::Unwell`] with the daemon's reasons; another one where nobody has answered within five seconds, or not
/// as the daemon does.
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
