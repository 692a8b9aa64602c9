//! A connection that shows in which phase it is.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::places::{Phase, Stage};

/// A connection; `stage` follows what is read and written.
pub(super) struct Watched {
    stream: TcpStream,
    stage: Rc<Cell<Stage>>,
}

impl Watched {
    pub(super) const fn new(stream: TcpStream, stage: Rc<Cell<Stage>>) -> Self {
        Self { stream, stage }
    }

    /// Returns when the client has sent something, or gone away.
    pub(super) async fn begins(&self) -> io::Result<()> {
        self.stream.readable().await
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().stream)
    }

    /// A phase begins where another one was; more of the same does not begin it again.
    fn enter(&self, phase: Phase) {
        if self.stage.get().phase != phase {
            self.stage.set(Stage::begin(phase));
        }
    }

    /// Something is being written: an answer, or more of one that goes on.
    fn writes(&self) {
        if self.stage.get().phase != Phase::Streaming {
            self.enter(Phase::Reading);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let watched = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut watched.stream).poll_read(cx, buffer))?;
        // What comes while an answer is read is the next question, and no progress.
        if buffer.filled().len() > before && watched.stage.get().phase == Phase::Idle {
            watched.enter(Phase::Asking);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes();
        self.stream().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writes();
        self.stream().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Everything is written when the writer of a connection asks for this.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stage.get().phase {
            Phase::Reading => self.enter(Phase::Idle),
            Phase::Streaming => self.stage.set(Stage::begin(Phase::Streaming)),
            Phase::Idle | Phase::Asking | Phase::Waiting => {}
        }
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}
