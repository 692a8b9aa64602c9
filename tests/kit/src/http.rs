//! A small HTTP client, for the monitoring ports of the daemon and of nats-server.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::http::request;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Any failure: the caller prints it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What was answered, read to its end.
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The response headers.
    pub headers: hyper::HeaderMap,
    /// The body; bytes that are not UTF-8 are replaced.
    pub body: String,
}

/// One request on a connection of its own, given five seconds.
pub async fn request(method: Method, address: SocketAddr, path: &str) -> Result<Answer, Error> {
    exchange(Request::builder().method(method).uri(path), address).await
}

/// A GET by a client that accepts this.
pub async fn get_accepting(address: SocketAddr, path: &str, accept: &str) -> Result<Answer, Error> {
    get_with(address, path, "accept", accept).await
}

/// A GET with this header.
pub async fn get_with(address: SocketAddr, path: &str, name: &str, value: &str) -> Result<Answer, Error> {
    exchange(Request::get(path).header(name, value), address).await
}

/// A GET.
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer, Error> {
    request(Method::GET, address, path).await
}

async fn exchange(request: request::Builder, address: SocketAddr) -> Result<Answer, Error> {
    tokio::time::timeout(Duration::from_secs(5), send(request, Bytes::new(), address)).await?
}

/// A request with a body, which is waited for without end.
pub async fn send(request: request::Builder, body: Bytes, address: SocketAddr) -> Result<Answer, Error> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = request.header("host", address.to_string()).body(Full::new(body))?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    driver.abort();
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
