//! Cuts the stream of bytes into frames. However the stream is split into reads, the frames are the same, and memory is
//! bounded.
//!
//! PURE: no clock, no I/O. A frame ends with an empty line, and lines end with CR LF only: a bare CR or LF is a part of
//! the value it stands in, because an attacker can send it there.

use memchr::memmem::Finder;

/// At most this many bytes of a frame are kept. A SIP message over TCP may be 64 KiB long, and nearly all of it may be
/// the Call-ID that becomes a SessionID. An event cannot be much larger than that.
pub const MAX_FRAME: usize = 128 * 1024;

/// At most this many bytes are kept of a longer frame, its last ones: they hold the addresses that Asterisk wrote.
const KEPT_TAIL: usize = 4 * 1024;

/// Bytes that one read can take in.
const READ_SIZE: usize = 64 * 1024;

/// Bytes that the buffer keeps when little is in it; what a burst made it grow to is given back to the system.
const IDLE_SIZE: usize = READ_SIZE;

const END: &[u8] = b"\r\n\r\n";

/// A piece of the stream between two empty lines, without them.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The whole frame. Its lines are separated by CR LF; there is none behind the last one.
    Whole(&'a [u8]),
    /// The last bytes of a frame longer than [`MAX_FRAME`].
    Overlong(&'a [u8]),
}

/// Cuts a byte stream into frames.
#[derive(Debug)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Bytes of `buffer` already given out.
    start: usize,
    /// Bytes of `buffer` that hold data.
    end: usize,
    /// Up to here `buffer` is known to hold no end of a frame.
    searched: usize,
    skipping: bool,
    finder: Finder<'static>,
}

impl Default for Framer {
    fn default() -> Framer {
        Framer { buffer: Vec::new(), start: 0, end: 0, searched: 0, skipping: false, finder: Finder::new(END) }
    }
}

impl Framer {
    /// Free space to read into. Call [`Framer::filled`] to say how much of it was used, and then [`Framer::next_frame`]
    /// until there is no more, before asking for space again: that keeps the memory bounded.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.searched -= self.start;
            self.end -= self.start;
            self.start = 0;
            if self.end <= IDLE_SIZE / 2 && self.buffer.len() > 2 * IDLE_SIZE {
                self.buffer.truncate(IDLE_SIZE);
                self.buffer.shrink_to_fit();
            }
        }
        if self.buffer.len() < self.end + READ_SIZE {
            self.buffer.resize(self.end + READ_SIZE, 0);
        }
        &mut self.buffer[self.end..]
    }

    /// The first `count` bytes of the space now hold data.
    pub fn filled(&mut self, count: usize) {
        self.end += count;
        debug_assert!(self.end <= self.buffer.len());
    }

    /// Takes in all of `bytes`, for tests and recorded streams. With a socket use `space` and `filled`.
    pub fn push(&mut self, bytes: &[u8]) {
        let space = self.space();
        let count = bytes.len().min(space.len());
        space[..count].copy_from_slice(&bytes[..count]);
        self.filled(count);
        if count < bytes.len() {
            self.buffer.truncate(self.end);
            self.buffer.extend_from_slice(&bytes[count..]);
            self.end = self.buffer.len();
        }
    }

    /// The next line, without its CR LF, if it is complete. The greeting is a line without an empty one behind it.
    pub fn next_line(&mut self) -> Option<&[u8]> {
        let length = memchr::memmem::find(&self.buffer[self.start..self.end], b"\r\n")?;
        let line = self.start..self.start + length;
        self.consume(length + 2);
        Some(&self.buffer[line])
    }

    /// The next complete frame.
    pub fn next_frame(&mut self) -> Option<Frame<'_>> {
        let data = &self.buffer[self.start..self.end];
        if !self.skipping && data.starts_with(b"\r\n") {
            self.consume(2);
            return Some(Frame::Whole(b""));
        }
        match self.finder.find(&self.buffer[self.searched..self.end]) {
            Some(at) => {
                let frame = self.start..self.searched + at;
                let overlong = std::mem::take(&mut self.skipping) || frame.len() > MAX_FRAME;
                self.consume(frame.len() + END.len());
                let bytes = &self.buffer[frame];
                Some(if overlong {
                    Frame::Overlong(&bytes[bytes.len().saturating_sub(KEPT_TAIL)..])
                } else {
                    Frame::Whole(bytes)
                })
            }
            None => {
                self.searched = self.end.saturating_sub(END.len() - 1).max(self.start);
                // The last bytes may be the beginning of the empty line that ends a frame of the largest size.
                if self.skipping || self.end - self.start > MAX_FRAME + END.len() - 1 {
                    self.skipping = true;
                    self.start = self.start.max(self.end.saturating_sub(KEPT_TAIL + END.len()));
                    self.searched = self.searched.max(self.start);
                }
                None
            }
        }
    }

    /// Whether the stream stands at the end of a frame, with nothing of the next one read.
    pub fn is_between_frames(&self) -> bool {
        self.start == self.end && !self.skipping
    }

    /// What was read and not yet given out.
    pub fn peek(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        self.searched = self.start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut framer = Framer::default();
        let mut frames = Vec::new();
        for piece in pieces {
            framer.push(piece);
            while let Some(frame) = framer.next_frame() {
                let (tag, bytes) = match frame {
                    Frame::Whole(bytes) => (b'w', bytes),
                    Frame::Overlong(bytes) => (b'o', bytes),
                };
                frames.push([&[tag], bytes].concat());
            }
        }
        frames
    }

    #[test]
    fn an_extra_empty_line_is_a_frame_of_its_own() {
        assert_eq!(frames(&[b"a: 1\r\n\r\n\r\nb: 2\r\n\r\n"]), [b"wa: 1".to_vec(), b"w".to_vec(), b"wb: 2".to_vec()]);
    }

    #[test]
    fn a_bare_line_feed_ends_nothing() {
        assert_eq!(frames(&[b"a: 1\n\n\r\r\n\r\n"]), [b"wa: 1\n\n\r".to_vec()]);
    }

    #[test]
    fn an_overlong_frame_is_skipped_in_bounded_memory_and_the_next_one_is_read() {
        let mut framer = Framer::default();
        for _ in 0..1000 {
            framer.push(&[b'x'; 10_000]);
            assert_eq!(framer.next_frame(), None);
            assert!(framer.buffer.capacity() < 4 * MAX_FRAME);
        }
        framer.push(b"\r\nRemoteAddress: r\r\n\r\na: 1\r\n\r\n");
        match framer.next_frame() {
            Some(Frame::Overlong(tail)) => assert!(tail.ends_with(b"x\r\nRemoteAddress: r") && tail.len() <= KEPT_TAIL),
            other => panic!("{other:?}"),
        }
        assert_eq!(framer.next_frame(), Some(Frame::Whole(b"a: 1")));
        assert!(framer.is_between_frames());
    }

    #[test]
    fn a_frame_of_the_largest_size_is_whole_wherever_it_is_cut() {
        for length in MAX_FRAME - 4..MAX_FRAME + 4 {
            let stream = [&vec![b'x'; length], &b"\r\n\r\n"[..]].concat();
            let whole = frames(&[&stream]);
            assert_eq!(whole[0][0], if length > MAX_FRAME { b'o' } else { b'w' });
            for cut in length - 1..stream.len() {
                assert_eq!(frames(&[&stream[..cut], &stream[cut..]]), whole, "{length} cut at {cut}");
            }
        }
    }

    #[test]
    fn the_greeting_is_a_line_without_an_empty_one_behind() {
        let mut framer = Framer::default();
        framer.push(b"Asterisk Call Manager/11.0.0\r");
        assert_eq!(framer.next_line(), None);
        framer.push(b"\nResponse: Success\r\n\r\n");
        assert_eq!(framer.next_line(), Some(&b"Asterisk Call Manager/11.0.0"[..]));
        assert_eq!(framer.next_frame(), Some(Frame::Whole(b"Response: Success")));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_frames(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'a'), Just(b':')], 0..200),
            cuts in proptest::collection::vec(0usize..200, 0..20),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(frames(&pieces), frames(&[&bytes]));
        }
    }
}
