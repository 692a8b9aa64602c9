//! One POST to a server beside the webhooks, one that gives out tokens or takes spans, over a connection of its own, which is
//! made as those to webhooks are. Everything about it is bounded, and a redirect is an answer as any other.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header::HOST};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::{
    connect::{connector::Connector, network::Transport},
    fault::Fault,
};
use crate::{
    base::{clock::Clock, error_chain::ErrorChain},
    config::WebhookUrl,
    message::outcome::Failure,
};

/// How many bytes of an answer are read. Tokens with many claims have a few thousand.
const LONGEST: usize = 64 * 1024;

/// Posts to one server.
pub struct Poster {
    url: WebhookUrl,
    connector: Connector,
    patience: Duration,
}

impl Poster {
    /// To `url`, to which `transport` leads. Connecting, asking and the whole answer may take `patience` together.
    pub fn new(url: &WebhookUrl, transport: Transport, patience: Duration, clock: Clock) -> Self {
        Self { url: url.clone(), connector: Connector::new(url, transport, patience, clock), patience }
    }

    /// Posts `request`, and returns the answer, whatever its status. The field `Host` is added here.
    ///
    /// # Errors
    /// There is no answer, or not in time. The words are those for webhooks.
    pub async fn post(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Fault> {
        let exchanged = timeout(self.patience, self.exchange(request)).await;
        exchanged.unwrap_or_else(|_late| {
            let (host, within) = (self.url.host(), humantime::format_duration(self.patience));
            Err(Fault::new(Failure::Timeout, format_args!("{host} has not answered within {within}")))
        })
    }

    async fn exchange(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, Fault> {
        let stream = self.connector.connect().await?;
        let broken = |error: &dyn std::error::Error| {
            let host = self.url.host();
            Fault::new(Failure::Protocol, format_args!("the answer of {host}: {}", ErrorChain(error)))
        };
        let (mut requests, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        let host = self.url.authority().try_into();
        request
            .headers_mut()
            .insert(HOST, host.map_err(|error: http::header::InvalidHeaderValue| broken(&error))?);
        let answering = async {
            let answer =
                requests.send_request(request.map(Full::new)).await.map_err(|error| broken(&error))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, LONGEST).collect().await.map_err(|error| broken(&*error))?;
            Ok(Response::from_parts(head, body.to_bytes()))
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
}
