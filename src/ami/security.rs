//! Reads security events from frames, and is not deceived by what an attacker writes into them.
//!
//! PURE: no clock, no I/O. Asterisk writes values unescaped, so an attacker can put lines of his own into one, even an
//! empty line and a whole event. INVARIANT: an event that comes out names a sender that Asterisk itself wrote down. It
//! is either an event in the one shape that Asterisk writes, and nothing behind it calls it into question, or the true
//! end of one that an attacker broke.
//!
//! Why that works: Asterisk writes the fields of an event in a fixed order, and what an attacker can write stands before
//! the addresses. Whatever he adds, the true `SessionID`, `LocalAddress` and `RemoteAddress` follow it, in the same
//! frame or, if he wrote an empty line, in a later one. And he has little room (see `room`): PJSIP decodes 36 bytes of
//! a user name, chan_sip takes 247 encoded ones. Forged addresses with an empty line behind them cost 103 bytes or more,
//! and all that Asterisk writes up to AccountID costs 171 or more, so there is no room for both. It follows that
//! - a frame that does not begin as an event is the rest of the event before it, whatever that looked like, and of
//!   several such frames only the end of the last one counts;
//! - a frame that begins as an event is a new one, and proves that the one before it was sound. The exception is a frame
//!   for which an attacker had room: if all that he would have had to write, from the account of the event before it on,
//!   fits, then it may be the rest of that event, dressed up as another, and is taken for it.
//!
//! By the same count an event is whole even if its addresses cannot be read: the names of its last three fields alone
//! leave no room for the beginning of another event. So the sender of the next event is not blamed for it.
//!
//! The manager interface over HTTP knows no such limit. There any number of perfect events can be forged.

mod canon;
mod endpoint;
mod event_time;
mod room;

use std::hash::RandomState;

use canon::{Sender, Shape, Start};

use super::frame::Frame;
use crate::model::security::{SecurityEvent, Service};

/// Decides which frames may be believed.
#[derive(Debug, Default)]
pub struct Guard {
    held: Option<Undecided>,
    hasher: RandomState,
    /// Frames met so far that were no sound events.
    pub unsound: Unsound,
}

/// What has been read and cannot be acted on before the next frame, or silence, decides about it.
#[derive(Debug)]
enum Undecided {
    /// An event in Asterisk's shape, which the next frame may expose as forged.
    Event {
        event: SecurityEvent,
        /// See [`Broken`].
        room: usize,
    },
    /// Frames in no known shape, which belong together.
    Broken(Broken),
}

/// Numbers of frames that were no sound events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsound {
    /// Events that somebody wrote lines into.
    pub tampered: u64,
    /// Events of a shape that no known version of Asterisk sends.
    pub strange: u64,
    /// Frames too long to read.
    pub overlong: u64,
}

#[derive(Debug)]
struct Broken {
    /// Whether lines stand in them where only an attacker can have put them.
    tampered: bool,
    /// The sender that the last of them names, if it does.
    sender: Option<Sender>,
    /// How much more an attacker who wrote all of them had room to write, in bytes of his request.
    room: usize,
}

impl Guard {
    /// Takes the next frame, and appends to `out` the events that may be acted on now.
    pub fn frame(&mut self, frame: &Frame<'_>, out: &mut Vec<SecurityEvent>) {
        match frame {
            Frame::Whole(bytes) => match canon::shape(bytes, &self.hasher) {
                Shape::Neutral => {}
                Shape::Event { event, written } => self.event(event, written, bytes, out),
                Shape::Broken { start, sender } => self.broken(start, sender, bytes, out),
            },
            Frame::Overlong(tail) => {
                // No honest request makes an event that long.
                self.unsound.overlong += 1;
                self.broken(Start::Middle, canon::sender(tail, &self.hasher), tail, out);
            }
        }
    }

    fn event(&mut self, event: SecurityEvent, written: &[u8], frame: &[u8], out: &mut Vec<SecurityEvent>) {
        match &mut self.held {
            // It is the rest of what is held, dressed up.
            Some(Undecided::Broken(broken)) if room::needed(frame) <= broken.room => {
                *broken = Broken { tampered: true, sender: Some(Sender::of(&event)), room: 0 };
            }
            held => {
                let settled = held.is_none();
                self.settle(out);
                // On PJSIP no value that may hold CR LF has room for forged addresses, so such an event need not wait
                // for the next frame if nothing was undecided before it.
                if settled && event.service == Service::Pjsip {
                    out.push(event);
                } else {
                    self.held = Some(Undecided::Event { room: room::behind(event.service, written), event });
                }
            }
        }
    }

    fn broken(&mut self, start: Start<'_>, sender: Option<Sender>, frame: &[u8], out: &mut Vec<SecurityEvent>) {
        let room = match &self.held {
            None => 0,
            Some(Undecided::Event { room, .. } | Undecided::Broken(Broken { room, .. })) => *room,
        };
        let (tampered, room) = match start {
            Start::Middle => (true, room::after(room, frame)),
            _ if room::needed(frame) <= room => (true, room::after(room, frame)),
            Start::Event { tampered, service, written } => {
                self.settle(out);
                (tampered, room::behind(service, written))
            }
            Start::Strange => {
                self.settle(out);
                (false, 0)
            }
        };
        self.held = Some(Undecided::Broken(Broken { tampered, sender, room }));
    }

    /// Decides about what waits, because nothing came for a while and the stream stands between two frames: the rest of
    /// an event comes in the same write as its beginning.
    pub fn silence(&mut self, out: &mut Vec<SecurityEvent>) {
        self.settle(out);
    }

    /// Whether an event waits for the next frame or for silence.
    pub fn is_waiting(&self) -> bool {
        self.held.is_some()
    }

    fn settle(&mut self, out: &mut Vec<SecurityEvent>) {
        match self.held.take() {
            None => {}
            Some(Undecided::Event { event, .. }) => out.push(event),
            Some(Undecided::Broken(Broken { tampered: true, sender: Some(sender), .. })) => {
                self.unsound.tampered += 1;
                out.push(sender.accused());
            }
            Some(Undecided::Broken(_)) => self.unsound.strange += 1,
        }
    }
}

#[cfg(test)]
mod tests;
