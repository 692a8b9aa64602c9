//! The status as it changes: Server-Sent Events, once a second, of the whole status and the first routes of its list.
//!
//! All clients share one text, which is made while there is anybody to read it. Who reads too slowly misses some, as each
//! tells everything: nothing is queued for anybody.

use std::{cell::Cell, rc::Rc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};
use tokio_stream::wrappers::WatchStream;

use super::{Query, StatusBoard};
use crate::base::clock::Time;

/// How long it is from one event to the next.
const PAUSE: Duration = Duration::from_secs(1);
/// An event that is no older is good enough for who comes.
const FRESH: Duration = Duration::from_millis(900);
/// After how many milliseconds a browser that has lost its connection tries again.
const TRY_AGAIN: u32 = 1_000;

/// Tells the status to whoever follows it. Clones tell the same.
#[derive(Clone, Debug)]
pub struct Events(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    board: StatusBoard,
    latest: watch::Sender<Bytes>,
    made: Cell<Option<Time>>,
    /// Notified of each new follower.
    followed: Notify,
}

impl Events {
    /// Events that tell what `board` does.
    pub fn of(board: StatusBoard) -> Self {
        let latest = watch::Sender::new(Bytes::new());
        Self(Rc::new(Shared { board, latest, made: Cell::default(), followed: Notify::new() }))
    }

    /// The status now, and then as it changes.
    pub fn follow(&self) -> WatchStream<Bytes> {
        let now = self.0.board.now();
        if self.0.made.get().is_none_or(|made| now.since(made) >= FRESH) {
            self.make();
        }
        let stream = WatchStream::new(self.0.latest.subscribe());
        self.0.followed.notify_one();
        stream
    }

    /// Makes events for as long as somebody follows, again and again.
    pub async fn keep(self) {
        loop {
            self.0.followed.notified().await;
            while self.0.latest.receiver_count() > 0 {
                self.make();
                sleep(PAUSE).await;
            }
            // It would be kept for nobody.
            self.0.latest.send_replace(Bytes::new());
            self.0.made.set(None);
        }
    }

    fn make(&self) {
        let Shared { board, latest, made, .. } = &*self.0;
        made.set(Some(board.now()));
        let status = serde_json::to_string(&board.status(&Query::default())).unwrap_or_default();
        latest.send_replace(format!("retry: {TRY_AGAIN}\nevent: status\ndata: {status}\n\n").into());
    }
}
