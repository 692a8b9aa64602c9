//! What a server sends, and what it changes.

use super::{
    super::{
        frame::{Frame, FrameHead, Settings},
        response::{Head, Malformed},
    },
    Code, Connection, End, ExchangeError, Failure, Fault, HEAD, LARGEST, LARGEST_HEAD, LARGEST_WINDOW,
    Violation, flag, frame, kind,
};
use crate::deliver::partial::MOST_INTERIM;

/// How many frames a server may send one after the other that bring no request forward. There is always something else
/// to do, but none of it is endless: pings, settings, empty frames, frames of streams that are gone.
const MOST_IDLE: u32 = 1000;
/// How much may wait to be sent by what a server demands and does not read.
const MOST_WAITING: usize = 1024 * 1024;

/// What was received and can't be taken yet.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// The beginning of a frame.
    cut: Vec<u8>,
    /// The beginning of a block of fields.
    block: Option<Block>,
    /// How many frames have come that brought nothing forward.
    idle: u32,
}

/// A block of fields in several frames, between which nothing else may come (RFC 9113, section 6.10).
#[derive(Debug)]
struct Block {
    stream: u32,
    bytes: Vec<u8>,
    ends: bool,
    /// Whether there is so much of it that it was taken as it was.
    is_too_large: bool,
}

const IDLE_STREAM: Violation = Violation::protocol("a frame on a stream that was never opened");
const OVERFLOW: Violation = Violation::new(Code::FLOW_CONTROL_ERROR, "a window larger than there can be");

impl Connection {
    /// Takes what was received, however it is cut.
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.is_over {
            return;
        }
        self.trial = None;
        let taken = if self.incoming.cut.is_empty() {
            let taken = self.take(bytes);
            if let Ok(taken) = taken {
                self.incoming.cut.extend_from_slice(bytes.get(taken..).unwrap_or_default());
            }
            taken
        } else {
            let mut all = std::mem::take(&mut self.incoming.cut);
            all.extend_from_slice(bytes);
            let taken = self.take(&all);
            if let Ok(taken) = taken {
                all.drain(..taken);
                self.incoming.cut = all;
            }
            taken
        };
        if let Err(violation) = taken {
            self.violated(violation);
        }
    }

    /// Takes all whole frames at the front of `bytes`, and says how many bytes they were.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let mut taken = 0;
        while let Some(head) = bytes.get(taken..).and_then(FrameHead::read) {
            self.may_follow(head)?;
            let start = taken + HEAD;
            let Some(payload) = bytes.get(start..start + head.length) else { break };
            taken = start + head.length;
            self.incoming.idle += 1;
            if self.incoming.idle > MOST_IDLE || self.to_send().len() > MOST_WAITING {
                let words = "it sends frame after frame, and none brings an answer";
                return Err(Violation::new(Code::ENHANCE_YOUR_CALM, words));
            }
            self.take_frame(head, Frame::read(head, payload)?)?;
            if self.is_over {
                return Ok(bytes.len());
            }
        }
        Ok(taken)
    }

    /// Whether a frame with this head may come now.
    fn may_follow(&self, head: FrameHead) -> Result<(), Violation> {
        if !self.peer.has_settled
            && (head.kind != kind::SETTINGS || head.flags & flag::ACK != 0 || head.stream != 0)
        {
            return Err(Violation::protocol("what listens there does not speak it"));
        }
        if head.length > LARGEST {
            return Err(Violation::new(Code::FRAME_SIZE_ERROR, "a frame that is too large"));
        }
        match &self.incoming.block {
            Some(block) if head.kind != kind::CONTINUATION || head.stream != block.stream => {
                Err(Violation::protocol("a head that does not go on"))
            }
            None if head.kind == kind::CONTINUATION => Err(Violation::protocol("a head without a beginning")),
            _ => Ok(()),
        }
    }

    fn take_frame(&mut self, head: FrameHead, frame: Frame<'_>) -> Result<(), Violation> {
        let id = head.stream;
        if id != 0 && !matches!(frame, Frame::Other) && (id >= self.next || id.is_multiple_of(2)) {
            return Err(IDLE_STREAM);
        }
        match frame {
            Frame::Data { data, length, end } => self.take_data(id, data, length, end)?,
            Frame::Headers { block, whole: true, end } => self.take_head(id, block, end, None),
            Frame::Headers { block, whole: false, end } => {
                let block = Block { stream: id, bytes: block.to_vec(), ends: end, is_too_large: false };
                self.incoming.block = Some(block);
            }
            Frame::Continuation { block, whole } => self.take_more_of_head(block, whole),
            Frame::Reset(code) => self.take_reset(id, code),
            Frame::Settings(settings) => self.take_settings(settings)?,
            Frame::Ping(data) => frame::put_ping(&mut self.out, flag::ACK, data),
            Frame::Pong(data) => {
                self.ping.take_if(|sent| sent.as_nanos().to_be_bytes() == data);
            }
            Frame::GoAway { last, code } => self.take_goaway(last, code),
            Frame::Window(more) => self.take_window(id, more)?,
            Frame::SettingsAck | Frame::Other => {}
        }
        Ok(())
    }

    /// Something came of a request.
    fn progress(&mut self) {
        self.incoming.idle = 0;
    }

    fn take_data(&mut self, id: u32, data: &[u8], length: u32, end: bool) -> Result<(), Violation> {
        self.credit -= i64::from(length);
        if self.credit < 0 {
            return Err(Violation::new(Code::FLOW_CONTROL_ERROR, "more data than the window allows"));
        }
        if self.credit < LARGEST_WINDOW / 2 {
            let more = u32::try_from(LARGEST_WINDOW - self.credit).unwrap_or_default();
            self.credit = LARGEST_WINDOW;
            frame::put_number(&mut self.out, kind::WINDOW_UPDATE, 0, more);
        }
        // What comes for a stream that is gone was under way when we closed it.
        let Some(stream) = self.stream(id).filter(|stream| stream.end.is_none()) else { return Ok(()) };
        if stream.partial.answer.is_none() {
            self.fail(id, "the answer has a body before its head");
            return Ok(());
        }
        stream.credit -= i64::from(length);
        let wants_more = stream.partial.take_body(data) && stream.credit > 0;
        if end {
            stream.is_closed_there = true;
        }
        if end || !wants_more {
            stream.answered(None);
            self.touched.push(id);
        }
        if !data.is_empty() {
            self.progress();
        }
        Ok(())
    }

    fn take_more_of_head(&mut self, more: &[u8], whole: bool) {
        let Some(mut block) = self.incoming.block.take() else { return };
        if !block.is_too_large {
            block.bytes.extend_from_slice(more);
        }
        if whole && !block.is_too_large && block.bytes.len() <= LARGEST_HEAD {
            return self.take_head(block.stream, &block.bytes, block.ends, None);
        }
        if block.bytes.len() > LARGEST_HEAD {
            // The status comes first: it counts, and of the rest nothing is kept.
            block.is_too_large = true;
            let bytes = std::mem::take(&mut block.bytes);
            let bytes = bytes.get(..LARGEST_HEAD).unwrap_or(&bytes);
            self.take_head(block.stream, bytes, false, Some("the header is too large"));
        }
        if !whole {
            self.incoming.block = Some(block);
        } else if let (true, Some(stream)) = (block.ends, self.stream(block.stream)) {
            stream.is_closed_there = true;
        }
    }

    /// Takes the head of an answer, or what stands behind its body. `odd` says why it is all that is read.
    fn take_head(&mut self, id: u32, block: &[u8], end: bool, odd: Option<&'static str>) {
        let keeps = self.keeps.is_some();
        let known = self.known.meaning(block).filter(|_| !keeps);
        let Some(stream) = self.stream(id).filter(|stream| stream.end.is_none()) else { return };
        stream.is_closed_there |= end;
        if stream.partial.answer.is_some() {
            // Trailers end a stream, and say nothing that matters.
            stream.answered(odd.or_else(|| (!end).then_some("a second head within the answer")));
            self.touched.push(id);
            return self.progress();
        }
        let head = match known.map_or_else(|| Head::read(block, keeps), |status| Ok(Head::plain(status))) {
            Ok(head) => head,
            Err(Malformed(words)) => return self.fail(id, words),
        };
        if head.answer.status < 200 {
            stream.interim += 1;
            let is_endless = stream.interim > MOST_INTERIM;
            // There is no other protocol to switch to (RFC 9113, section 8.6).
            if end || is_endless || head.answer.status == 101 || odd.is_some() {
                let words =
                    if is_endless { "interim answers only" } else { "an interim answer and no other" };
                self.fail(id, words);
            }
            return;
        }
        let plain = head.status_of_plain().filter(|_| known.is_none());
        stream.partial.answer = Some(head.answer);
        let is_sound = head.is_sound || odd.is_some();
        let odd = odd.or_else(|| (!is_sound).then_some("a header that can't be read (HPACK)"));
        if end || odd.is_some() {
            stream.answered(odd);
        }
        // Also where the answer goes on: a refusal counts, and the rest of it has its own time.
        self.touched.push(id);
        self.progress();
        if let Some(status) = plain {
            self.known.keep(block, status);
        }
        if !is_sound {
            // Whatever it thinks of our table, it thinks so of the next one, too.
            self.drain(Code::COMPRESSION_ERROR);
        }
    }

    /// The answer on this stream is none.
    fn fail(&mut self, id: u32, words: &'static str) {
        if let Some(stream) = self.stream(id) {
            let fault = Fault::new(Failure::Protocol, words);
            stream.end = Some(End::Failed(ExchangeError::Failed(fault)));
            self.touched.push(id);
            self.progress();
        }
    }

    fn take_reset(&mut self, id: u32, code: Code) {
        let position = self.position();
        if let Some(stream) = self.stream(id) {
            let is_sent = stream.ends.is_some_and(|end| end <= position);
            stream.reset(code, is_sent);
            self.touched.push(id);
            self.progress();
        }
    }

    fn take_settings(&mut self, settings: Settings<'_>) -> Result<(), Violation> {
        for (key, value) in settings {
            match key {
                1 => self.encoder.allow(value),
                2 if value != 0 => return Err(Violation::protocol("it means to push")),
                3 => {
                    self.peer.allows_more |= value > self.peer.streams;
                    self.peer.streams = value;
                }
                4 => self.resize_windows(value)?,
                5 if !(1 << 14..1 << 24).contains(&value) => {
                    return Err(Violation::protocol("a size of frames that can't be"));
                }
                _ => {}
            }
        }
        self.peer.has_settled = true;
        frame::put_head(&mut self.out, 0, kind::SETTINGS, flag::ACK, 0);
        Ok(())
    }

    /// All streams get as much more, or less, as new ones do (section 6.9.2).
    fn resize_windows(&mut self, window: u32) -> Result<(), Violation> {
        let more = i64::from(window) - i64::from(self.peer.window);
        self.peer.window = window;
        let windows = self.streams.iter_mut().flatten().map(|stream| {
            stream.window += more;
            stream.window
        });
        if windows.max().unwrap_or_default().max(i64::from(window)) > LARGEST_WINDOW {
            return Err(OVERFLOW);
        }
        self.touch_wanting();
        Ok(())
    }

    fn take_window(&mut self, id: u32, more: u32) -> Result<(), Violation> {
        if self.wanting > 0 {
            self.progress();
        }
        if id == 0 {
            self.window += i64::from(more);
            if more == 0 || self.window > LARGEST_WINDOW {
                return Err(OVERFLOW);
            }
            self.touch_wanting();
            return Ok(());
        }
        let Some(stream) = self.stream(id) else { return Ok(()) };
        stream.window += i64::from(more);
        if more == 0 || stream.window > LARGEST_WINDOW {
            self.fail(id, "a window of the stream that can't be");
        } else if stream.wants {
            self.touched.push(id);
        }
        Ok(())
    }

    fn take_goaway(&mut self, last: u32, code: Code) {
        let words =
            format_args!("the webhook ended the connection before this request: GOAWAY {}", code.name());
        let fault = Fault::new(Failure::Reset, words);
        for stream in self.streams.iter_mut().flatten().filter(|stream| stream.id > last) {
            // It promises that it has done nothing with them (section 6.8).
            stream.is_closed_there = true;
            if !stream.end.as_ref().is_some_and(End::is_answer) {
                stream.end = Some(End::Failed(ExchangeError::NotSent(fault.clone())));
            }
            self.touched.push(stream.id);
        }
        self.drain(Code::NO_ERROR);
    }
}
