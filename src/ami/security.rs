//! Frames to security events, proof against what an attacker writes into them.
//!
//! PURE: no clock, no I/O. Asterisk writes values unescaped, so an attacker can put lines of his own, even an empty
//! line and a whole event, into one. INVARIANT: an event names only a sender that Asterisk itself wrote down: it is an
//! unbroken canonical event that nothing behind it calls into question, or the true end of a broken one.
//!
//! How that is known: Asterisk writes the fields of an event in a fixed order, and what an attacker can write stands
//! before the addresses. Whatever he adds, the true `SessionID, LocalAddress, RemoteAddress` follow it, in the same
//! frame or, if he wrote an empty line, in a later one. And he has little room (see `room`): PJSIP decodes 36 bytes of a
//! user name, chan_sip takes 247 encoded ones. Forged addresses and the empty line that makes a frame end with them
//! cost 103 or more, all that Asterisk writes up to AccountID 171 or more: there is no room for both. So
//! - a frame that begins in the middle is the rest of the event before it, whatever that looked like, and of such
//!   frames only the end of the last one counts;
//! - a frame that begins as an event is a new event, and proves what came before it sound; unless all that an attacker
//!   would have had to write, from the account of the event before it up to here, fits into his room: then it can be
//!   the rest of that one, dressed up.
//!
//! By the same count an event is known to be whole even if its addresses cannot be read: the names of its last three
//! fields alone leave no room for the beginning of another. So whoever comes next is not blamed for it.
//!
//! The manager interface over HTTP has no such limit: there any number of perfect events can be forged.

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
    /// What was met so far.
    pub unsound: Unsound,
}

/// What the next frame may still change.
#[derive(Debug)]
enum Undecided {
    /// A canonical event, which the next frame may expose as forged.
    Event {
        event: SecurityEvent,
        /// As in [`Broken`].
        room: usize,
    },
    /// Frames that are not canonical, and belong together.
    Broken(Broken),
}

/// Frames met by a [`Guard`] that were not sound events.
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
    /// Who the last of them names.
    sender: Option<Sender>,
    /// How much more their writer may have written, in bytes of his request.
    room: usize,
}

impl Guard {
    /// Takes the next frame; what may be acted on now goes to `out`.
    pub fn frame(&mut self, frame: &Frame<'_>, out: &mut Vec<SecurityEvent>) {
        match frame {
            Frame::Whole(bytes) => match canon::shape(bytes, &self.hasher) {
                Shape::Neutral => {}
                Shape::Event { event, written } => self.event(event, written, bytes, out),
                Shape::Broken { start, sender } => self.broken(start, sender, bytes, out),
            },
            Frame::Overlong(tail) => {
                // Nothing honest makes an event that long.
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
                // On PJSIP no value that may hold CR LF has room for forged addresses, so what stands on settled
                // ground need not wait for the next frame.
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

    /// Nothing came for a while, and the stream stands between two frames: the rest of a cut event comes in the same
    /// write, so what waits is settled.
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
