//! An answer as far as it was read, whatever the wire format.

use super::answer::{Answer, Excerpt};

/// How large a head may be, in bytes. Every part of a response has a limit: a webhook must not be able to use up our
/// memory.
pub(super) const LARGEST_HEAD: usize = 16 * 1024;
/// How much of a body is read, in bytes. It says nothing that matters, but only behind its end a connection, or a
/// stream, is in order. For a longer one, a new one costs less than reading on.
pub(super) const LARGEST_BODY: u64 = 64 * 1024;
/// How many interim responses (1xx) are skipped. There is rarely more than one; without a limit they could go on for
/// ever.
pub(super) const MOST_INTERIM: u8 = 8;

/// What is known of an answer.
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// What its head says, when that is complete.
    pub(super) answer: Option<Answer>,
    /// How much of a body is kept, in bytes, for a route that looks into answers.
    keeps: Option<usize>,
    excerpt: Excerpt,
    /// How many bytes of the body were read.
    body: u64,
}

impl Partial {
    /// Nothing yet, for a route that keeps bodies of so many bytes, where it does.
    pub(super) fn keeping(keeps: Option<usize>) -> Self {
        Self { keeps, ..Self::default() }
    }

    /// Whether the body is of use to somebody.
    pub(super) const fn keeps(&self) -> bool {
        self.keeps.is_some()
    }

    /// How much of a body is read.
    pub(super) fn largest_body(keeps: Option<usize>) -> u64 {
        LARGEST_BODY.max(keeps.unwrap_or_default() as u64)
    }

    pub(super) fn status(&self) -> Option<u16> {
        self.answer.as_ref().map(|answer| answer.status)
    }

    /// Takes note of what is odd about it.
    pub(super) fn note(&mut self, odd: &'static str) {
        if let Some(answer) = &mut self.answer {
            answer.note(odd);
        }
    }

    /// Takes a part of the body: of a refusal, the beginning is kept. False where there is so much of it that nobody reads
    /// on.
    pub(super) fn take_body(&mut self, bytes: &[u8]) -> bool {
        self.body += bytes.len() as u64;
        if let Some(answer) = &mut self.answer {
            if let (Some(kept), Some(limit)) = (&mut answer.kept, self.keeps) {
                kept.keep(bytes, limit);
            }
            if !answer.is_delivery() {
                self.excerpt.keep(bytes);
            }
        }
        self.body <= Self::largest_body(self.keeps)
    }

    /// The answer with what was read of its body.
    #[inline]
    pub(super) fn finish(&mut self) -> Option<Answer> {
        let mut answer = self.answer.take()?;
        if !answer.is_delivery() {
            let excerpt = std::mem::take(&mut self.excerpt);
            let encoding = answer.refusal.as_ref().and_then(|refusal| refusal.encoding.as_deref());
            if let Some(text) = excerpt.into_text(encoding, self.body) {
                answer.refusal().excerpt = Some(text);
            }
        }
        Some(answer)
    }
}
