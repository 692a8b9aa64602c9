//! `broadcaster health`: asks a running daemon how it is, for probes that start a program. With it an image needs
//! neither a shell nor an HTTP client.

use std::{
    error::Error,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, header::HOST};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{net::TcpStream, time::timeout};
use url::Url;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is asked, where it closes the connection without an answer.
const TRIES: u32 = 5;
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
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// The system refuses what a runtime needs.
    #[error("cannot start a runtime: {0}")]
    Runtime(#[from] io::Error),
    /// The URL of `--url` is not `http`, or has no host.
    #[error("error: --url: expected http://HOST:PORT or HOST:PORT")]
    Url,
    /// Nobody listens there, most likely.
    #[error("cannot reach {0}: {1}")]
    Unreachable(String, #[source] io::Error),
    /// Something listens, and has not answered within five seconds.
    #[error("no answer from {0} within 5 s")]
    Silent(String),
    /// Something listens, and closes the connection.
    #[error("{0} closes the connection without an answer")]
    Closed(String),
    /// Something listens that does not speak HTTP, or answers with more than the daemon ever does.
    #[error("{0} does not answer as broadcaster does: {1}")]
    Garbage(String, #[source] Box<dyn Error + Send + Sync>),
    /// The daemon is not ready, or not alive: its own reasons, one a line.
    #[error("{}", .0.join("\n"))]
    Unwell(Vec<String>),
}

/// Whom a probe asks on the machine of a daemon whose API listens on `address`. An address such as `0.0.0.0` says where
/// to listen, and can't be asked itself; `[::]` stands for both kinds of addresses.
pub fn local(address: SocketAddr) -> Vec<String> {
    let hosts: &[IpAddr] = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => &[IpAddr::V4(Ipv4Addr::LOCALHOST)],
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            &[IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
        }
        _ => return vec![address.to_string()],
    };
    hosts.iter().map(|host| SocketAddr::new(*host, address.port()).to_string()).collect()
}

/// Whom a probe of this URL asks: its host and port. Its path is ignored, and `http://` may be left out.
///
/// # Errors
/// [`HealthError::Url`] where it is not `http`, or has no host.
pub fn named(url: &str) -> Result<String, HealthError> {
    let url = if url.contains("://") { Url::parse(url) } else { Url::parse(&format!("http://{url}")) };
    let url = url.map_err(|_wrong| HealthError::Url)?;
    match (url.scheme(), url.host_str(), url.port_or_known_default()) {
        ("http", Some(host), Some(port)) => Ok(format!("{host}:{port}")),
        _ => Err(HealthError::Url),
    }
}

/// Asks the API at the first of `authorities`, each a host and a port, that can be reached. Needs a runtime that takes
/// local tasks.
///
/// # Errors
/// [`HealthError::Unwell`] with the daemon's reasons; another one where nobody has answered within five seconds, or not
/// as the daemon does.
pub async fn ask(authorities: &[String], question: Question) -> Result<(), HealthError> {
    let asked = timeout(PATIENCE, insist(authorities, question)).await;
    let (status, body) = asked.map_err(|_late| HealthError::Silent(authorities.join(" and ")))??;
    if status.is_success() {
        return Ok(());
    }
    let reasons = serde_json::from_slice(&body).map_or_else(|_| Vec::new(), |Reasons { reasons }| reasons);
    Err(HealthError::Unwell(if reasons.is_empty() {
        vec![format!("{} answers {status}", authorities.join(" and "))]
    } else {
        reasons
    }))
}

#[derive(Deserialize)]
struct Reasons {
    reasons: Vec<String>,
}

/// Asks once more where the connection was closed without an answer: a daemon that has more clients than it keeps closes
/// those that it has not heard from, and this program may be slow to speak on a machine under load.
async fn insist(
    authorities: &[String],
    question: Question,
) -> Result<(http::StatusCode, Bytes), HealthError> {
    for _ in 1..TRIES {
        match exchange(authorities, question).await {
            Err(HealthError::Closed(_)) => {}
            answer => return answer,
        }
    }
    exchange(authorities, question).await
}

fn is_closed(error: &hyper::Error) -> bool {
    let is_io = error.source().is_some_and(|source| source.is::<io::Error>());
    error.is_incomplete_message() || error.is_canceled() || is_io
}

async fn exchange(
    authorities: &[String],
    question: Question,
) -> Result<(http::StatusCode, Bytes), HealthError> {
    let (stream, authority) = connect(authorities).await?;
    let garbage = |error| HealthError::Garbage(authority.to_owned(), error);
    let path = match question {
        Question::Ready => "/health",
        Question::Live => "/healthz",
    };
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut requests, connection) = handshake.map_err(|error| garbage(error.into()))?;
    drop(tokio::task::spawn_local(connection));
    let request = Request::get(path).header(HOST, authority).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| garbage(error.into()))?;
    let answer = requests.send_request(request).await.map_err(|error| {
        if is_closed(&error) { HealthError::Closed(authority.to_owned()) } else { garbage(error.into()) }
    })?;
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, LONGEST_ANSWER).collect().await.map_err(garbage)?;
    Ok((head.status, body.to_bytes()))
}

async fn connect(authorities: &[String]) -> Result<(TcpStream, &str), HealthError> {
    let mut failed = HealthError::Url;
    for authority in authorities {
        match TcpStream::connect(authority).await {
            Ok(stream) => return Ok((stream, authority)),
            Err(error) => failed = HealthError::Unreachable(authority.clone(), error),
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::{local, named};

    #[test]
    fn a_probe_asks_this_machine_where_the_api_listens_everywhere() {
        let asked = |listens: &str| local(listens.parse().expect("an address"));
        assert_eq!(asked("0.0.0.0:8002"), ["127.0.0.1:8002"]);
        assert_eq!(asked("[::]:8002"), ["127.0.0.1:8002", "[::1]:8002"]);
        assert_eq!(asked("10.1.2.3:80"), ["10.1.2.3:80"]);
    }

    #[test]
    fn a_url_names_a_host_and_a_port() {
        for (url, asked) in [
            ("http://127.0.0.1:8002", Some("127.0.0.1:8002")),
            ("http://[::1]:8002/health", Some("[::1]:8002")),
            ("http://broadcaster-svc", Some("broadcaster-svc:80")),
            ("127.0.0.1:8002", Some("127.0.0.1:8002")),
            ("localhost:8002/health", Some("localhost:8002")),
            ("[::1]:8002", Some("[::1]:8002")),
            ("broadcaster-svc", Some("broadcaster-svc:80")),
            ("https://127.0.0.1:8002", None),
            ("data:text", None),
            ("", None),
            (":8002", None),
        ] {
            assert_eq!(named(url).ok().as_deref(), asked, "{url}");
        }
    }
}
