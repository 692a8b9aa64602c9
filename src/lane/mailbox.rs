//! What others ask a lane, and how it answers: on its own thread, between its other tasks, so that nobody else reads what
//! is in hand there.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{config::RouteName, route::in_hand::InHand};

/// How many questions may wait.
const WAITING: usize = 4;

/// What is in hand of a route, at most so many messages.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) route: RouteName,
    pub(super) limit: usize,
    pub(super) answer: oneshot::Sender<Vec<InHand>>,
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
    pub(super) async fn ask(
        &self,
        route: RouteName,
        limit: usize,
        patience: Duration,
    ) -> Option<Vec<InHand>> {
        let (answer, answered) = oneshot::channel();
        self.sender.try_send(Question { route, limit, answer }).ok()?;
        timeout(patience, answered).await.ok()?.ok()
    }
}
