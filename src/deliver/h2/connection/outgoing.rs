//! What is to be sent: one buffer for all streams, in which bodies take no more room than windows and its size allow.

use super::{
    Connection, Encoder, End, HEAD, HIGH_WATER, LARGEST, LARGEST_HEAD, LARGEST_WINDOW, WINDOW, flag, frame,
    kind,
};

impl Connection {
    /// What a client says first: no table, no pushes, as large a window as anybody reads of an answer, and one for all of
    /// them together that never hinders.
    pub(super) fn begin(&mut self) {
        self.out.extend_from_slice(frame::PREFACE);
        let credit = u32::try_from(self.stream_credit).unwrap_or(WINDOW);
        let head = u32::try_from(LARGEST_HEAD).unwrap_or(u32::MAX);
        let settings = [(1_u16, 0_u32), (2, 0), (4, credit), (6, head)];
        frame::put_head(&mut self.out, settings.len() * 6, kind::SETTINGS, 0, 0);
        for (key, value) in settings {
            self.out.extend_from_slice(&key.to_be_bytes());
            self.out.extend_from_slice(&value.to_be_bytes());
        }
        let more = u32::try_from(LARGEST_WINDOW).unwrap_or(WINDOW) - WINDOW;
        frame::put_number(&mut self.out, kind::WINDOW_UPDATE, 0, more);
    }

    /// What is to be sent now.
    pub fn to_send(&self) -> &[u8] {
        self.out.get(self.written..).unwrap_or_default()
    }

    /// The first `count` bytes of that have been sent.
    pub fn sent(&mut self, count: usize) {
        self.written += count;
        if self.written < self.out.len() {
            return;
        }
        self.before += self.out.len() as u64;
        self.written = 0;
        self.out.clear();
        // A burst of large bodies must not cost memory for ever.
        self.out.shrink_to(HIGH_WATER);
        self.touch_wanting();
    }

    /// How many bytes have been sent.
    pub(super) fn position(&self) -> u64 {
        self.before + self.written as u64
    }

    /// Where what is appended next will be.
    pub(super) fn end(&self) -> u64 {
        self.before + self.out.len() as u64
    }

    pub(super) fn put_request_head(
        &mut self,
        id: u32,
        ends: bool,
        write: impl FnOnce(&mut Encoder, &mut Vec<u8>),
    ) {
        let ends = if ends { flag::END_STREAM } else { 0 };
        let start = self.out.len();
        self.out.extend_from_slice(&[0; HEAD]);
        write(&mut self.encoder, &mut self.out);
        let length = self.out.len() - start - HEAD;
        if length <= LARGEST {
            let head = frame::head(length, kind::HEADERS, ends | flag::END_HEADERS, id);
            self.out[start..start + HEAD].copy_from_slice(&head);
            return;
        }
        let block = self.out.split_off(start + HEAD);
        self.out.truncate(start);
        let mut parts = block.chunks(LARGEST).peekable();
        let mut head = (kind::HEADERS, ends);
        while let Some(part) = parts.next() {
            let last = if parts.peek().is_none() { flag::END_HEADERS } else { 0 };
            frame::put_head(&mut self.out, part.len(), head.0, head.1 | last, id);
            self.out.extend_from_slice(part);
            head = (kind::CONTINUATION, 0);
        }
    }

    /// Sends what is left of the body of a stream, as far as the windows allow.
    pub fn send(&mut self, id: u32, body: &[u8]) {
        let place = self.place(id);
        let Some(Some(stream)) = self.streams.get_mut(place) else { return };
        stream.wants = false;
        let is_wanted = !matches!(stream.end, Some(End::Failed(_))) && !self.is_over;
        if stream.id != id || stream.ends.is_some() || !is_wanted {
            return;
        }
        let mut rest = body.get(stream.sent..).unwrap_or_default();
        while !rest.is_empty() {
            let room = HIGH_WATER.saturating_sub(self.out.len() - self.written);
            let window = usize::try_from(stream.window.min(self.window)).unwrap_or_default();
            let count = rest.len().min(LARGEST).min(window).min(room);
            if count == 0 {
                stream.wants = true;
                self.wanting = self.wanting.max(1);
                return;
            }
            let (part, behind) = rest.split_at(count);
            rest = behind;
            let flags = if rest.is_empty() { flag::END_STREAM } else { 0 };
            frame::put_head(&mut self.out, count, kind::DATA, flags, id);
            self.out.extend_from_slice(part);
            stream.sent += count;
            stream.window -= count as i64;
            self.window -= count as i64;
        }
        stream.ends = Some(self.before + self.out.len() as u64);
    }

    /// Tells those that wait to send more where they can.
    pub(super) fn touch_wanting(&mut self) {
        if self.wanting == 0 || self.window <= 0 {
            return;
        }
        self.wanting = 0;
        for stream in self.streams.iter().flatten().filter(|stream| stream.wants) {
            if stream.window > 0 {
                self.touched.push(stream.id);
            }
            self.wanting += 1;
        }
    }
}
