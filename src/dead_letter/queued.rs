//! A letter on its way into a stream: in what form it is published, and what was said about it so far. No I/O.

use std::sync::Arc;

use uuid::Uuid;

use super::{Letter, letter::Cut, outbox::Place};
use crate::{base::clock::Time, nats::puback::PubAck};

/// What became of a letter in a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// NATS has it.
    Stored,
    /// It is larger than NATS takes it in this form, whenever that is tried.
    TooLarge,
    /// NATS does not have it, and it is another letter now.
    Again,
    /// NATS does not have it, for this reason, which may be over the next time.
    Refused(Arc<str>),
}

/// What has become of a letter for certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// NATS has it.
    Stored,
    /// NATS takes others, and never this one, for this reason.
    Unfit(Arc<str>),
}

/// A letter that waits, with its place in the outbox.
#[derive(Debug)]
pub(super) struct QueuedLetter {
    pub(super) letter: Letter,
    pub(super) cut: Cut,
    /// What came of it in the round that is under way, or was broken off.
    pub(super) answer: Option<Answer>,
    /// Why it was refused the last time.
    pub(super) refusal: Option<Arc<str>>,
    /// How often it was refused while others were taken.
    pub(super) strikes: u32,
    /// When to try again, after the first of those.
    pub(super) due: Time,
    death: Uuid,
    /// How often it was published with the present [id](Self::message_id).
    pub(super) published: u32,
    renewals: u32,
    pub(super) place: Place,
}

impl QueuedLetter {
    pub(super) fn new(letter: Letter, place: Place) -> Self {
        Self {
            letter,
            cut: Cut::Nothing,
            answer: None,
            refusal: None,
            strikes: 0,
            due: Time::START,
            death: Uuid::now_v7(),
            published: 0,
            renewals: 0,
            place,
        }
    }

    /// By what a stream tells the letter when it comes again. Unique to this death: a message may die several times, in
    /// several routes, and another message of another deployment may have its id. What a stream took for a duplicate of any
    /// of those would be nowhere.
    pub(super) fn message_id(&self) -> String {
        let Letter { route, message, .. } = &self.letter;
        format!("{route}:{}:{}", message.id, self.death.simple())
    }

    /// Has it be another letter to the stream than before.
    pub(super) fn renew(&mut self) {
        self.death = Uuid::now_v7();
        self.published = 0;
    }

    /// Takes note of what the stream said.
    pub(super) fn hear(&mut self, said: PubAck) {
        const RENEWALS: u32 = 3;
        self.answer = Some(match said {
            PubAck::Stored => Answer::Stored,
            // The stream has the one whose confirmation was lost.
            PubAck::Duplicate if self.published > 1 => Answer::Stored,
            PubAck::Duplicate if self.renewals < RENEWALS => {
                self.renewals += 1;
                self.renew();
                Answer::Again
            }
            PubAck::Duplicate => {
                Answer::Refused("the stream takes it for a duplicate of another message".into())
            }
            PubAck::TooLarge => Answer::TooLarge,
            PubAck::Refused(reason) => Answer::Refused(reason),
        });
    }

    /// The memory that it takes, in bytes, and about what is published of it.
    pub(super) fn cost(&self) -> usize {
        self.letter.message.cost()
    }

    /// Leaves out more of the headers. False where nothing is left to leave out.
    pub(super) fn shorten(&mut self) -> bool {
        let more = self.cut.more();
        self.cut = more.unwrap_or(self.cut);
        more.is_some()
    }
}
