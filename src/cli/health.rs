//! `broadcaster health`: asks a running daemon how it is, for probes that start a program. With it an image needs
//! neither a shell nor an HTTP client.

use std::{
    error::Error,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, header::HOST};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use url::Url;

use crate::{base::network::trust::trusting_anybody, config::ApiAddress};

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
    /// The URL of `--url` is neither `http` nor `https`, or has no host.
    #[error("error: --url: expected http://HOST:PORT, https://HOST:PORT or HOST:PORT")]
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

/// Whom a probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The host and the port.
    authority: String,
    /// Whether it speaks TLS.
    is_encrypted: bool,
}

impl Asked {
    /// The host and the port.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// `stream`, which leads there, encrypted where it has to be, as `config` says.
    pub(super) async fn encrypt(
        &self,
        stream: TcpStream,
        config: impl FnOnce() -> ClientConfig,
    ) -> io::Result<Box<dyn Connection>> {
        if !self.is_encrypted {
            return Ok(Box::new(stream));
        }
        let host = self.authority.rsplit_once(':').map_or("", |(host, _)| host).trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(TlsConnector::from(Arc::new(config())).connect(name, stream).await?))
    }
}

/// A connection, encrypted or not.
pub(super) trait Connection: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Connection for T {}

/// Whom a probe asks on the machine of a daemon whose API listens on `api`. An address such as `0.0.0.0` says where
/// to listen, and can't be asked itself; `[::]` stands for both kinds of addresses.
pub fn local(api: ApiAddress) -> Vec<Asked> {
    let ApiAddress { address, is_encrypted } = api;
    let hosts: &[IpAddr] = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => &[IpAddr::V4(Ipv4Addr::LOCALHOST)],
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            &[IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
        }
        ip => &[ip],
    };
    let asked =
        |host: &IpAddr| Asked { authority: SocketAddr::new(*host, address.port()).to_string(), is_encrypted };
    hosts.iter().map(asked).collect()
}

/// Whom a probe of this URL asks: its host and port. Its path is ignored, and `http://` may be left out.
///
/// # Errors
/// [`HealthError::Url`] where it is neither `http` nor `https`, or has no host.
pub fn named(url: &str) -> Result<Asked, HealthError> {
    let url = if url.contains("://") { Url::parse(url) } else { Url::parse(&format!("http://{url}")) };
    let url = url.map_err(|_wrong| HealthError::Url)?;
    match (url.scheme(), url.host_str(), url.port_or_known_default()) {
        (scheme @ ("http" | "https"), Some(host), Some(port)) => {
            Ok(Asked { authority: format!("{host}:{port}"), is_encrypted: scheme == "https" })
        }
        _ => Err(HealthError::Url),
    }
}

/// Asks the API at the first of `apis` that can be reached. Needs a runtime that takes
/// local tasks.
///
/// # Errors
/// [`HealthError::Unwell`] with the daemon's reasons; another one where nobody has answered within five seconds, or not
/// as the daemon does.
pub async fn ask(apis: &[Asked], question: Question) -> Result<(), HealthError> {
    let names = || apis.iter().map(|api| api.authority.as_str()).collect::<Vec<_>>().join(" and ");
    let asked = timeout(PATIENCE, insist(apis, question)).await;
    let (status, body) = asked.map_err(|_late| HealthError::Silent(names()))??;
    if status.is_success() {
        return Ok(());
    }
    let reasons = serde_json::from_slice(&body).map_or_else(|_| Vec::new(), |Reasons { reasons }| reasons);
    Err(HealthError::Unwell(if reasons.is_empty() {
        vec![format!("{} answers {status}", names())]
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
async fn insist(apis: &[Asked], question: Question) -> Result<(http::StatusCode, Bytes), HealthError> {
    for _ in 1..TRIES {
        match exchange(apis, question).await {
            Err(HealthError::Closed(_)) => {}
            answer => return answer,
        }
    }
    exchange(apis, question).await
}

fn is_closed(error: &hyper::Error) -> bool {
    let is_io = error.source().is_some_and(|source| source.is::<io::Error>());
    error.is_incomplete_message() || error.is_canceled() || is_io
}

async fn exchange(apis: &[Asked], question: Question) -> Result<(http::StatusCode, Bytes), HealthError> {
    let (stream, api) = connect(apis).await?;
    // Whose certificate it is makes no difference: nothing secret is sent, and whoever can answer in its stead can stop it.
    let encrypted = api.encrypt(stream, || trusting_anybody().with_no_client_auth()).await;
    let garbage = |error: io::Error| HealthError::Garbage(api.authority.clone(), error.into());
    converse(encrypted.map_err(garbage)?, &api.authority, question).await
}

async fn converse(
    stream: Box<dyn Connection>,
    authority: &str,
    question: Question,
) -> Result<(http::StatusCode, Bytes), HealthError> {
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

async fn connect(apis: &[Asked]) -> Result<(TcpStream, &Asked), HealthError> {
    let mut failed = HealthError::Url;
    for api in apis {
        match TcpStream::connect(&api.authority).await {
            Ok(stream) => return Ok((stream, api)),
            Err(error) => failed = HealthError::Unreachable(api.authority.clone(), error),
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::{Asked, local, named};
    use crate::config::ApiAddress;

    fn authorities(asked: Vec<Asked>) -> Vec<String> {
        asked.into_iter().map(|asked| asked.authority).collect()
    }

    #[test]
    fn a_probe_asks_this_machine_where_the_api_listens_everywhere() {
        let asked = |listens: &str| {
            let address = listens.parse().expect("an address");
            authorities(local(ApiAddress { address, is_encrypted: false }))
        };
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
            ("https://127.0.0.1:8002", Some("127.0.0.1:8002")),
            ("https://broadcaster-svc", Some("broadcaster-svc:443")),
            ("data:text", None),
            ("", None),
            (":8002", None),
        ] {
            let found = named(url).ok();
            assert_eq!(found.as_ref().map(|found| &*found.authority), asked, "{url}");
            assert_eq!(found.is_some_and(|found| found.is_encrypted), url.starts_with("https"), "{url}");
        }
    }
}
