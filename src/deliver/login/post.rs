//! One POST to a token server, over a connection of its own, which is made as those to webhooks are. Everything about it is
//! bounded, and a redirect is an answer as any other.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::{
    base::error_chain::ErrorChain,
    config::WebhookUrl,
    deliver::{connect::connector::Connector, fault::Fault},
    message::outcome::Failure,
};

/// How long connecting, asking and the whole answer may take together.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How many bytes of an answer are read. Tokens with many claims have a few thousand.
const LONGEST: usize = 64 * 1024;

/// Posts `request` to `url`, to which `connector` leads. Returns status and body of the answer.
pub(super) async fn post(
    connector: &Connector,
    url: &WebhookUrl,
    request: Request<Vec<u8>>,
) -> Result<(StatusCode, Bytes), Fault> {
    let exchanged = timeout(PATIENCE, exchange(connector, url, request)).await;
    exchanged.unwrap_or_else(|_late| {
        let within = humantime::format_duration(PATIENCE);
        Err(Fault::new(Failure::Timeout, format_args!("{} has not answered within {within}", url.host())))
    })
}

async fn exchange(
    connector: &Connector,
    url: &WebhookUrl,
    request: Request<Vec<u8>>,
) -> Result<(StatusCode, Bytes), Fault> {
    let stream = connector.connect().await?;
    let broken = |error: &dyn std::error::Error| {
        Fault::new(Failure::Protocol, format_args!("the answer of {}: {}", url.host(), ErrorChain(error)))
    };
    let (mut requests, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let (mut head, body) = request.into_parts();
    let host =
        url.authority().try_into().map_err(|error: http::header::InvalidHeaderValue| broken(&error))?;
    head.headers.insert(HOST, host);
    let request = Request::from_parts(head, Full::new(Bytes::from(body)));
    let answering = async {
        let answer = requests.send_request(request).await.map_err(|error| broken(&error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, LONGEST).collect().await.map_err(|error| broken(&*error))?;
        Ok((head.status, body.to_bytes()))
    };
    let driving = async {
        // What ends a connection ends the answer as well, and is told there.
        drop(connection.await);
        std::future::pending().await
    };
    tokio::select! {
        answer = answering => answer,
        never = driving => never,
    }
}
