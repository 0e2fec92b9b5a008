//! How much an attacker can write into one event, and what a frame would have cost him.
//!
//! Both are counted in bytes of his request. There CR, LF and the colon are written as `%0d`, `%0a` and `%3a`, since
//! they mean something else in a SIP address; every other byte costs one at least.

use super::canon::SENDER_KEYS;
use crate::ami::lines::FrameLines;
use crate::model::security::Service;

/// At most 36 bytes of a user name are decoded by PJSIP, each of which may have cost three.
const PJSIP: usize = 3 * 36;

/// At most 247 bytes are there for the user in the 255 that chan_sip keeps of a To header. The manager interface and
/// the modules of others are taken to have no more; over HTTP the manager interface has, and nothing helps there.
const OTHERS: usize = 247;

/// What the end of a line costs.
const LINE_END: usize = 6;

/// The room left to whoever wrote this, and an empty line behind it, into an event of this service.
pub(super) fn behind(service: Service, written: &[u8]) -> usize {
    let room = match service {
        Service::Pjsip => PJSIP,
        Service::Sip | Service::Ami | Service::Other => OTHERS,
    };
    room.saturating_sub(cost(written) + 2 * LINE_END)
}

/// What is left of `room` to whoever wrote this frame too.
pub(super) fn after(room: usize, frame: &[u8]) -> usize {
    // Of an empty frame there is but one line end.
    let line_ends = if frame.is_empty() { 1 } else { 2 };
    room.saturating_sub(cost(frame) + line_ends * LINE_END)
}

/// The least that an attacker wrote of this frame if it is the rest of an event that he cut: all that stands before
/// the fields that name the sender. Where there are none, he wrote all of it and the end of its last line; that of the
/// empty line may be Asterisk's, which ends the account.
pub(super) fn needed(frame: &[u8]) -> usize {
    FrameLines::of(frame).before_any(&SENDER_KEYS).map_or_else(|| cost(frame) + LINE_END, cost)
}

fn cost(text: &[u8]) -> usize {
    text.iter().map(|byte| if matches!(byte, b'\r' | b'\n' | b':') { 3 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_that_was_written_of_a_frame_ends_where_asterisk_names_the_sender() {
        let dressed = b"Event: Y\r\nX: y";
        let rest = b"\r\nSessionID: a\r\nLocalAddress: IPV4/UDP/198.18.0.1/5060\r\nRemoteAddress: (null)";
        assert_eq!(needed(&[&dressed[..], rest].concat()), cost(dressed));
        assert_eq!(needed(&rest[2..]), 0);
        assert_eq!(needed(dressed), cost(dressed) + LINE_END);
    }
}
