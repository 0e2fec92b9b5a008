//! The bytes of a terminal to lines: telnet's commands and option negotiation (RFC 854, 855, 857, 1143), line ends
//! of all kinds, and the editing keys of clients that send each key as it is pressed.
//!
//! PURE: no I/O. INVARIANT: whatever arrives, no more than one line of [`MAX_LINE`] bytes is kept, and cutting the
//! stream elsewhere changes nothing.
//!
//! The server agrees to no option, so clients stay in their line mode and echo for themselves. The one exception is
//! [`Telnet::hide_typing`]: offering to echo, and then not doing it, keeps a password off the screen.

use std::mem;

/// Longest line in bytes, without its end.
pub const MAX_LINE: usize = 512;

/// What the user did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A whole line, without its end, free of control characters.
    Line(String),
    /// A line grew past [`MAX_LINE`]; it is discarded up to its end.
    TooLong,
    /// Ctrl-C in the middle of a line: the line is discarded.
    Abandoned,
    /// Ctrl-C or Ctrl-D on an empty line: the user wants to leave.
    Leave,
}

/// Decoder of one connection.
#[derive(Debug, Default)]
pub struct Telnet {
    expecting: Expecting,
    line: Vec<u8>,
    /// In the rest of a line that was too long.
    discarding: bool,
    /// The last byte was a CR, so that a LF or NUL now belongs to the same line end.
    after_cr: bool,
    /// We offered to echo.
    hiding: bool,
}

#[derive(Debug, Default)]
enum Expecting {
    #[default]
    Data,
    /// After IAC.
    Command,
    /// After IAC and WILL, WONT, DO or DONT: the option comes next.
    Option(u8),
    /// Between IAC SB and IAC SE.
    Subnegotiation,
    /// After an IAC in there.
    SubnegotiationCommand,
}

const EOF: u8 = 236;
const ABORT: u8 = 238;
const SE: u8 = 240;
const BREAK: u8 = 243;
const INTERRUPT_PROCESS: u8 = 244;
const ARE_YOU_THERE: u8 = 246;
const ERASE_CHARACTER: u8 = 247;
const ERASE_LINE: u8 = 248;
const SB: u8 = 250;
const WILL: u8 = 251;
const WONT: u8 = 252;
const DO: u8 = 253;
const DONT: u8 = 254;
const IAC: u8 = 255;

const OPTION_ECHO: u8 = 1;

impl Telnet {
    /// Decodes the next piece of the stream. What has to be sent back is appended to `reply`.
    pub fn feed(&mut self, bytes: &[u8], reply: &mut Vec<u8>) -> Vec<Input> {
        let mut inputs = Vec::new();
        for &byte in bytes {
            self.expecting = match mem::take(&mut self.expecting) {
                Expecting::Data if byte == IAC => Expecting::Command,
                Expecting::Data => {
                    inputs.extend(self.data(byte));
                    Expecting::Data
                }
                Expecting::Command => match byte {
                    WILL | WONT | DO | DONT => Expecting::Option(byte),
                    SB => Expecting::Subnegotiation,
                    _ => {
                        inputs.extend(self.command(byte, reply));
                        Expecting::Data
                    }
                },
                Expecting::Option(verb) => {
                    self.negotiate(verb, byte, reply);
                    Expecting::Data
                }
                Expecting::Subnegotiation if byte == IAC => Expecting::SubnegotiationCommand,
                Expecting::Subnegotiation => Expecting::Subnegotiation,
                Expecting::SubnegotiationCommand if byte == SE => Expecting::Data,
                Expecting::SubnegotiationCommand => Expecting::Subnegotiation,
            };
        }
        inputs
    }

    /// From now on the client shall (not) show what is typed.
    pub fn hide_typing(&mut self, hide: bool, reply: &mut Vec<u8>) {
        if self.hiding != hide {
            self.hiding = hide;
            reply.extend([IAC, if hide { WILL } else { WONT }, OPTION_ECHO]);
        }
    }

    /// Refuses what is offered or asked. WONT and DONT only confirm what is so already: answering them would be the
    /// loop that RFC 1143 warns of. So would be answering the DO that accepts our own offer.
    fn negotiate(&self, verb: u8, option: u8, reply: &mut Vec<u8>) {
        match verb {
            WILL => reply.extend([IAC, DONT, option]),
            DO if option == OPTION_ECHO && self.hiding => {}
            DO => reply.extend([IAC, WONT, option]),
            _ => {}
        }
    }

    fn command(&mut self, command: u8, reply: &mut Vec<u8>) -> Option<Input> {
        match command {
            INTERRUPT_PROCESS | BREAK | ABORT => self.interrupt(),
            EOF => self.end_of_file(),
            ERASE_CHARACTER => self.erase_character(),
            ERASE_LINE => self.erase_line(),
            ARE_YOU_THERE => {
                reply.extend(b"\r\n[Yes]\r\n");
                None
            }
            // NOP, data mark, go ahead; and IAC IAC, the data byte 255, which occurs in no text.
            _ => None,
        }
    }

    fn data(&mut self, byte: u8) -> Option<Input> {
        let after_cr = mem::replace(&mut self.after_cr, byte == b'\r');
        match byte {
            b'\n' | 0 if after_cr => None,
            b'\r' | b'\n' => self.end_of_line(),
            0x03 => self.interrupt(),
            0x04 => self.end_of_file(),
            0x08 | 0x7f => self.erase_character(),
            0x15 => self.erase_line(),
            b'\t' => self.append(b' '),
            // Other control characters, and bytes that UTF-8 never uses.
            0..0x20 | 0xc0 | 0xc1 | 0xf5..=0xff => None,
            _ => self.append(byte),
        }
    }

    fn append(&mut self, byte: u8) -> Option<Input> {
        if self.discarding {
            return None;
        }
        if self.line.len() == MAX_LINE {
            self.line.clear();
            self.discarding = true;
            return Some(Input::TooLong);
        }
        self.line.push(byte);
        None
    }

    fn end_of_line(&mut self) -> Option<Input> {
        if mem::take(&mut self.discarding) {
            return None;
        }
        Some(Input::Line(String::from_utf8_lossy(&mem::take(&mut self.line)).into_owned()))
    }

    fn interrupt(&mut self) -> Option<Input> {
        if self.line.is_empty() && !self.discarding {
            return Some(Input::Leave);
        }
        self.line.clear();
        self.discarding = false;
        Some(Input::Abandoned)
    }

    fn end_of_file(&mut self) -> Option<Input> {
        (self.line.is_empty() && !self.discarding).then_some(Input::Leave)
    }

    /// Takes off the last character, which may be several bytes of UTF-8.
    fn erase_character(&mut self) -> Option<Input> {
        while let Some(byte) = self.line.pop() {
            let is_continuation = byte & 0xc0 == 0x80;
            if !is_continuation {
                break;
            }
        }
        None
    }

    fn erase_line(&mut self) -> Option<Input> {
        self.line.clear();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(bytes: &[u8]) -> (Vec<Input>, Vec<u8>) {
        let mut reply = Vec::new();
        let inputs = Telnet::default().feed(bytes, &mut reply);
        (inputs, reply)
    }

    fn lines(bytes: &[u8]) -> Vec<Input> {
        decode(bytes).0
    }

    fn line(text: &str) -> Input {
        Input::Line(text.to_owned())
    }

    #[test]
    fn every_kind_of_line_end_ends_one_line() {
        assert_eq!(lines(b"a\r\nb\nc\r\0d\re\r\n\r\n\n"), ["a", "b", "c", "d", "e", "", ""].map(line));
    }

    #[test]
    fn a_line_without_its_end_is_no_line() {
        assert_eq!(lines(b"block 192.0.2.1"), []);
    }

    #[test]
    fn editing_keys_edit() {
        assert_eq!(lines(b"blokc\x08\x7fck\n"), [line("block")]);
        assert_eq!(lines("p\u{e4}\u{20ac}\x7f\x7fing\n".as_bytes()), [line("ping")]);
        assert_eq!(lines(b"\x08\x08flush\x15ping\n"), [line("ping")]);
        assert_eq!(lines(b"flush\xff\xf8piing\xff\xf7\xff\xf7\xff\xf7ng\n"), [line("ping")]);
        assert_eq!(lines(b"block\t192.0.2.1\n"), [line("block 192.0.2.1")]);
    }

    #[test]
    fn control_c_and_control_d_leave_on_an_empty_line_only() {
        for leave in [&b"\x03"[..], b"\x04", b"\xff\xf4", b"\xff\xec"] {
            assert_eq!(lines(leave), [Input::Leave], "{leave:?}");
        }
        assert_eq!(lines(b"flu\x03ping\n"), [Input::Abandoned, line("ping")]);
        assert_eq!(lines(b"pi\x04ng\n"), [line("ping")]);
    }

    #[test]
    fn offers_and_demands_are_refused_once_and_refusals_are_not_answered() {
        let (inputs, reply) = decode(&[IAC, WILL, 31, IAC, DO, 3, IAC, WONT, 1, IAC, DONT, 1, IAC, DO, 1, b'x', b'\n']);
        assert_eq!(inputs, [line("x")]);
        assert_eq!(reply, [IAC, DONT, 31, IAC, WONT, 3, IAC, WONT, 1]);
    }

    #[test]
    fn subnegotiation_is_skipped_even_with_a_line_in_it() {
        let inputs = lines(b"a\xff\xfa\x18\x00flush\r\n\xff\xffxterm\xff\xf0b\n");
        assert_eq!(inputs, [line("ab")]);
    }

    #[test]
    fn hiding_offers_echo_once_and_takes_its_acceptance_silently() {
        let (mut telnet, mut reply) = (Telnet::default(), Vec::new());
        telnet.hide_typing(true, &mut reply);
        telnet.hide_typing(true, &mut reply);
        telnet.feed(&[IAC, DO, OPTION_ECHO], &mut reply);
        telnet.hide_typing(false, &mut reply);
        telnet.feed(&[IAC, DONT, OPTION_ECHO], &mut reply);
        assert_eq!(reply, [IAC, WILL, OPTION_ECHO, IAC, WONT, OPTION_ECHO]);
    }

    #[test]
    fn a_synch_whose_urgent_byte_went_another_way_leaves_no_dirt() {
        // IAC [DM taken out as urgent data] IAC DO TIMING-MARK reads as data byte 255 and two more.
        assert_eq!(lines(b"\xff\xff\xfd\x06ping\n"), [line("ping")]);
    }

    #[test]
    fn an_over_long_line_is_told_once_and_the_next_one_is_read() {
        let mut bytes = vec![b'x'; 100_000];
        bytes.extend(b"\nping\n");
        assert_eq!(lines(&bytes), [Input::TooLong, line("ping")]);
        let fits = "y".repeat(MAX_LINE);
        assert_eq!(lines(format!("{fits}\n").as_bytes()), [line(&fits)]);
    }

    /// Bytes that mean something, more often than chance would have it.
    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![
            any::<u8>(),
            b'a'..=b'z',
            236u8..=255,
            prop::sample::select(vec![IAC, b'\r', b'\n', 0, 1, 3, 4, 8, 0x15, 0x7f])
        ]
    }

    proptest! {
        #[test]
        fn cutting_the_stream_changes_nothing(
            bytes in prop::collection::vec(byte(), 0..2000),
            cuts in prop::collection::vec(1usize..50, 1..50),
        ) {
            let (mut telnet, mut inputs, mut reply) = (Telnet::default(), Vec::new(), Vec::new());
            let mut rest = &bytes[..];
            for cut in cuts.into_iter().cycle() {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                inputs.extend(telnet.feed(piece, &mut reply));
                prop_assert!(telnet.line.len() <= MAX_LINE);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!((inputs, reply), decode(&bytes));
        }

        #[test]
        fn lines_hold_no_control_characters(bytes in prop::collection::vec(byte(), 0..2000)) {
            let (inputs, reply) = decode(&bytes);
            for input in inputs {
                if let Input::Line(text) = input {
                    prop_assert!(!text.contains(|c: char| c.is_ascii_control()));
                }
            }
            prop_assert!(reply.len() <= 5 * bytes.len());
        }
    }
}
