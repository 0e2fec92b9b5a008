//! Frames to security events, proof against what an attacker writes into them.
//!
//! PURE: no clock, no I/O. Asterisk writes values unescaped, so an attacker can put lines of his own, even an empty
//! line and a whole event, into one. INVARIANT: an event names only a sender that Asterisk itself wrote down: it is an
//! unbroken canonical event that nothing behind it calls into question, or the true end of a broken one.
//!
//! How that is known: Asterisk writes the fields of an event in a fixed order, and what an attacker can write stands
//! before the addresses. Whatever he adds, the true `SessionID, LocalAddress, RemoteAddress` follow it, in the same
//! frame or, if he wrote an empty line, in a later one. And he has little room: PJSIP decodes 36 bytes of a user name,
//! chan_sip takes 247 encoded ones, where CR, LF and a colon cost three each. Forged addresses and the empty line that
//! makes a frame end with them cost 103 or more, all that Asterisk writes up to AccountID 169 or more: there is no
//! room for both. So
//! - a frame that is not canonical and begins in the middle is the rest of the event before it, whatever that looked
//!   like, and of such frames only the end of the last one counts;
//! - a frame that begins as an event begins is a new event, and proves what came before it sound; but if the one
//!   before it was cut off ahead of its addresses, it can only be the rest of that one, dressed up.
//!
//! The manager interface over HTTP has no such limit: there any number of perfect events can be forged.

mod canon;
mod endpoint;
mod event_time;
mod lines;

use std::hash::RandomState;

use super::frame::Frame;
use crate::model::security::{SecurityEvent, Service};

/// Decides which frames may be believed.
#[derive(Debug, Default)]
pub struct Guard {
    held: Option<Held>,
    hasher: RandomState,
    /// What was met so far.
    pub counts: Counts,
}

/// What the next frame may still change.
#[derive(Debug)]
enum Held {
    /// A canonical event, which the next frame may expose as forged.
    Event(SecurityEvent),
    /// Frames that are not canonical, and belong together.
    Broken(Broken),
}

/// Frames met by a [`Guard`] that were not sound events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that somebody wrote lines into.
    pub tampered: u64,
    /// Events of a shape that no known version of Asterisk sends.
    pub strange: u64,
    /// Frames too long to read.
    pub overlong: u64,
}

#[derive(Debug, Default)]
struct Broken {
    /// Whether lines stand in them where only an attacker can have put them.
    tampered: bool,
    /// Whether an event began in them; what follows without a beginning of its own is the rest of it.
    begun: bool,
    /// Whether that event has not yet come to its addresses.
    cut: bool,
    /// Who the last of them names.
    sender: Option<canon::Sender>,
}

impl Guard {
    /// Takes the next frame; what may be acted on now goes to `out`.
    pub fn frame(&mut self, frame: &Frame<'_>, out: &mut Vec<SecurityEvent>) {
        let shape = match frame {
            Frame::Whole(bytes) => canon::shape(bytes, &self.hasher),
            Frame::Overlong(tail) => {
                // Nothing honest makes an event that long.
                self.counts.overlong += 1;
                canon::Shape::Broken { begins: false, sender: canon::sender(tail, &self.hasher), tampered: true }
            }
        };
        match (shape, &mut self.held) {
            (canon::Shape::Neutral, _) => {}
            (canon::Shape::Event(event), Some(Held::Broken(broken))) if broken.cut => {
                broken.cut = false;
                broken.sender = Some(canon::Sender::of(&event));
            }
            (canon::Shape::Event(event), held) => {
                let settled = held.is_none();
                self.settle(out);
                // On PJSIP no value that may hold CR LF has room for forged addresses, so what stands on settled
                // ground need not wait for the next frame.
                if settled && event.service == Service::Pjsip {
                    out.push(event);
                } else {
                    self.held = Some(Held::Event(event));
                }
            }
            (canon::Shape::Broken { begins, sender, tampered }, _) => {
                if begins && !self.is_cut() {
                    self.settle(out);
                }
                let before = match self.held.take() {
                    None => Broken::default(),
                    Some(Held::Event(_)) => Broken { begun: true, ..Broken::default() },
                    Some(Held::Broken(broken)) => broken,
                };
                let tampered = tampered || before.tampered || before.begun;
                self.held = Some(Held::Broken(Broken {
                    tampered,
                    begun: begins || before.begun,
                    cut: sender.is_none() && (before.cut || begins && tampered),
                    sender,
                }));
            }
        }
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

    fn is_cut(&self) -> bool {
        matches!(&self.held, Some(Held::Broken(broken)) if broken.cut)
    }

    fn settle(&mut self, out: &mut Vec<SecurityEvent>) {
        match self.held.take() {
            None => {}
            Some(Held::Event(event)) => out.push(event),
            Some(Held::Broken(Broken { tampered: true, sender: Some(sender), .. })) => {
                self.counts.tampered += 1;
                out.push(sender.accused());
            }
            Some(Held::Broken(_)) => self.counts.strange += 1,
        }
    }
}

#[cfg(test)]
mod tests;
