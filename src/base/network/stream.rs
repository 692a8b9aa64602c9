//! The bytes of a connection, plain or encrypted, as one type: an enum, so that a read or write costs no call through a
//! pointer.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConnection, pki_types::ServerName},
};
use tracing::debug;

/// A connection that is open. TLS is boxed because its state is large.
#[derive(Debug)]
pub enum Stream {
    /// Not encrypted.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
    /// Encrypted within a tunnel that is encrypted itself: a proxy's.
    Within(Box<TlsStream<Self>>),
}

/// How long the other end may leave unacknowledged what is sent over a connection that was idle: several times what the
/// kernel waits before it sends again, over most networks.
const UNACKNOWLEDGED: Duration = Duration::from_millis(1200);

impl Stream {
    /// Whether the kernel is to give the connection up soon when what is sent over it is not acknowledged. It also gives
    /// one up whose other end stops reading for so long, so it is not for every request.
    pub fn expect_acknowledgements(&self, soon: bool) {
        if let Err(error) = SockRef::from(self.tcp()).set_tcp_user_timeout(soon.then_some(UNACKNOWLEDGED)) {
            debug!(%error, "cannot tell the kernel how long to wait for acknowledgements");
        }
    }
}

impl Stream {
    /// The same connection, encrypted from here on, to whoever has a certificate for `name`.
    ///
    /// # Errors
    /// Why there is no TLS.
    pub async fn encrypt(self, connector: &TlsConnector, name: ServerName<'static>) -> io::Result<Self> {
        Ok(match self {
            Self::Plain(tcp) => Self::Tls(Box::new(connector.connect(name, tcp).await?)),
            encrypted => Self::Within(Box::new(connector.connect(name, encrypted).await?)),
        })
    }

    /// What was agreed on by TLS with whoever is at its end.
    pub fn session(&self) -> Option<&ClientConnection> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => Some(stream.get_ref().1),
            Self::Within(stream) => Some(stream.get_ref().1),
        }
    }

    /// Whether it was agreed by TLS that HTTP/2 is spoken (ALPN, RFC 7301).
    pub fn speaks_http2(&self) -> bool {
        self.session().is_some_and(|session| session.alpn_protocol() == Some(b"h2"))
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(stream) => stream.get_ref().0,
            Self::Within(stream) => stream.get_ref().0.tcp(),
        }
    }
}

/// Calls the same method of whichever stream it is.
macro_rules! delegate {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Plain(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Stream::Tls(stream) => {
                let $stream = Pin::new(stream.as_mut());
                $call
            }
            Stream::Within(stream) => {
                let $stream = Pin::new(stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, stream => stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Within(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_shutdown(cx))
    }
}
