//! Where a text is written to while it is made: bounded, and followed, so that it is known what a value would stand in.

use std::{
    io::{self, Write},
    sync::atomic::{AtomicU8, AtomicU32, Ordering},
};

use memchr::memchr2;

/// Where in the text the engine is: the output moves it, and the formatter looks. The two meet nowhere else, since the
/// engine stands between them. The atomics are for the engine, which could be shared; one thread uses them.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    within: AtomicU8,
    writes: AtomicU32,
}

/// Where in a body the output stands: a value is written in another way within a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Within {
    /// Between the values of JSON, or anywhere in other text.
    Text = 0,
    /// A string of JSON.
    String = 1,
    /// A string of JSON, behind a backslash.
    Escape = 2,
}

impl Cursor {
    pub(super) fn within(&self) -> Within {
        match self.within.load(Ordering::Relaxed) {
            0 => Within::Text,
            1 => Within::String,
            _ => Within::Escape,
        }
    }

    /// How often something was written. A write that leaves this as it is went elsewhere: into a block that the template
    /// keeps for later.
    pub(super) fn writes(&self) -> u32 {
        self.writes.load(Ordering::Relaxed)
    }

    fn move_to(&self, within: Within) {
        self.within.store(within as u8, Ordering::Relaxed);
    }

    fn count_write(&self) {
        self.writes.store(self.writes().wrapping_add(1), Ordering::Relaxed);
    }
}

pub(super) struct Output<'c> {
    text: Vec<u8>,
    limit: usize,
    cursor: &'c Cursor,
    is_json: bool,
    /// Whether more came than there is room for.
    pub(super) is_full: bool,
}

impl<'c> Output<'c> {
    pub(super) fn new(cursor: &'c Cursor, limit: usize, is_json: bool) -> Self {
        cursor.move_to(Within::Text);
        Self { text: Vec::with_capacity(512), limit, cursor, is_json, is_full: false }
    }

    pub(super) fn into_text(self) -> String {
        String::from_utf8(self.text).unwrap_or_default()
    }

    /// Follows `bytes` through the strings of JSON.
    fn follow(&self, mut bytes: &[u8]) {
        let mut within = self.cursor.within();
        while !bytes.is_empty() {
            let read = match within {
                Within::Escape => {
                    within = Within::String;
                    1
                }
                Within::Text => match memchr::memchr(b'"', bytes) {
                    Some(at) => {
                        within = Within::String;
                        at + 1
                    }
                    None => bytes.len(),
                },
                Within::String => match memchr2(b'"', b'\\', bytes) {
                    Some(at) => {
                        within = if bytes.get(at) == Some(&b'"') { Within::Text } else { Within::Escape };
                        at + 1
                    }
                    None => bytes.len(),
                },
            };
            bytes = bytes.get(read..).unwrap_or_default();
        }
        self.cursor.move_to(within);
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.cursor.count_write();
        if bytes.len() > self.limit - self.text.len() {
            self.is_full = true;
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.text.extend_from_slice(bytes);
        if self.is_json {
            self.follow(bytes);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
