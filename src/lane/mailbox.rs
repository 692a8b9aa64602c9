//! What others ask a lane, and how it answers: on its own thread, between its other tasks, so that nobody else reads what
//! is in hand there.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{config::RouteName, route::in_hand::InHand};

/// How many questions may wait.
const WAITING: usize = 4;

/// Which messages in hand are asked for.
#[derive(Clone, Debug)]
pub enum Asked {
    /// The oldest of a route, at most so many.
    OfRoute(RouteName, usize),
    /// Those with this id, of all routes.
    WithId(Arc<str>),
}

/// The messages of each route that were asked for.
pub type Found = Vec<(RouteName, InHand)>;

#[derive(Debug)]
pub(super) struct Question {
    pub(super) asked: Asked,
    pub(super) answer: oneshot::Sender<Found>,
}

/// Where questions to a lane are put.
#[derive(Debug)]
pub(super) struct Mailbox {
    sender: mpsc::Sender<Question>,
    /// Until the lane begins to read them.
    receiver: Mutex<Option<mpsc::Receiver<Question>>>,
}

impl Default for Mailbox {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self { sender, receiver: Mutex::new(Some(receiver)) }
    }
}

impl Mailbox {
    /// The questions, for the lane; none where it has them already.
    pub(super) fn open(&self) -> Option<mpsc::Receiver<Question>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Asks, and waits so long for an answer; none where there is none.
    pub(super) async fn ask(&self, asked: Asked, patience: Duration) -> Option<Found> {
        let (answer, answered) = oneshot::channel();
        self.sender.try_send(Question { asked, answer }).ok()?;
        timeout(patience, answered).await.ok()?.ok()
    }
}
