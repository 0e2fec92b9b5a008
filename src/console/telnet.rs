//! Turns the bytes of a terminal into lines. It knows telnet's commands and option negotiation (RFC 854, 855, 857,
//! 1143), line ends of all kinds, and the editing keys of clients that send each key as it is pressed.
//!
//! PURE: no I/O. INVARIANT: whatever arrives, at most one line of [`MAX_LINE`] bytes is kept, and what comes out does not
//! depend on how the stream is split into reads.
//!
//! The server agrees to no option, so clients stay in their line mode and echo for themselves. The one exception is
//! [`Telnet::hide_typing`]: offering to echo, and then not doing it, keeps a password off the screen.

use std::mem;

/// At most this many bytes of a line are taken, without its end.
pub const MAX_LINE: usize = 512;

/// What the user did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A whole line, without its end, free of control characters.
    Line(String),
    /// A line grew longer than [`MAX_LINE`]. It is discarded up to its end.
    TooLong,
    /// Ctrl-C in the middle of a line, which is discarded.
    Abandoned,
    /// Ctrl-C or Ctrl-D on an empty line: the user wants to leave.
    Leave,
}

/// The decoder of one connection.
#[derive(Debug, Default)]
pub struct Telnet {
    expecting: Expecting,
    line: Vec<u8>,
    /// Whether the rest of a line that was too long is being discarded.
    discarding: bool,
    /// Whether the last byte was a CR, so that a LF or NUL now belongs to the same line end.
    after_cr: bool,
    /// Whether we offered to echo.
    hiding: bool,
}

#[derive(Debug, Default)]
enum Expecting {
    #[default]
    Data,
    /// A command, after IAC.
    Command,
    /// The option, after IAC and this one of WILL, WONT, DO and DONT.
    Option(u8),
    /// More of a subnegotiation, between IAC SB and IAC SE.
    Subnegotiation,
    /// A command, after an IAC in a subnegotiation.
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

    /// Has the client show what is typed, or not show it, from now on.
    pub fn hide_typing(&mut self, hide: bool, reply: &mut Vec<u8>) {
        if self.hiding != hide {
            self.hiding = hide;
            reply.extend([IAC, if hide { WILL } else { WONT }, OPTION_ECHO]);
        }
    }

    /// Refuses what is offered or asked. WONT and DONT only confirm what is so already; answering them would be the loop
    /// that RFC 1143 warns of, and so would answering the DO that accepts our own offer.
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
            // NOP, data mark and go ahead mean nothing here. IAC IAC is the data byte 255, which occurs in no text.
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
mod tests;
