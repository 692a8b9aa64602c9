//! The head of an answer that was read last. Most webhooks begin their answers with the same bytes for a second at least,
//! until the date changes, and the same bytes mean the same: comparing them costs a tenth of reading them.

/// How long a head may be that is kept, in bytes. Longer ones are rare, and seldom the same.
const LONGEST: usize = 1024;

/// What was read last, and what it means.
#[derive(Debug)]
pub struct Known<T> {
    bytes: Vec<u8>,
    /// None where nothing was read yet.
    meaning: Option<T>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { bytes: Vec::new(), meaning: None }
    }
}

impl<T: Copy> Known<T> {
    /// What `bytes` mean, where they are those that were read last.
    pub(super) fn meaning(&self, bytes: &[u8]) -> Option<T> {
        self.meaning.filter(|_| *bytes == *self.bytes)
    }

    /// The same of what `bytes` begin with, and how long that is.
    pub(super) fn beginning(&self, bytes: &[u8]) -> Option<(T, usize)> {
        let meaning = self.meaning.filter(|_| bytes.starts_with(&self.bytes))?;
        Some((meaning, self.bytes.len()))
    }

    /// Keeps what `bytes` mean. It has to follow from them alone.
    pub(super) fn keep(&mut self, bytes: &[u8], meaning: T) {
        self.bytes.clear();
        self.meaning = (bytes.len() <= LONGEST).then_some(meaning);
        if self.meaning.is_some() {
            self.bytes.extend_from_slice(bytes);
        }
    }
}
