//! How much an attacker can write into one event, and what a frame would have cost him.
//!
//! Both are counted in bytes of his request. CR, LF and the colon cost three bytes there (`%0d`, `%0a`, `%3a`), because
//! they have another meaning in a SIP address. Every other byte costs at least one.

use super::canon::SENDER_KEYS;
use crate::ami::lines::FrameLines;
use crate::model::security::Service;

/// The room in an event of PJSIP. It decodes at most 36 bytes of a user name, each of which may have cost three.
const PJSIP: usize = 3 * 36;

/// The room in an event of chan_sip: of the 255 bytes that it keeps of a To header, at most 247 can be the user. The
/// manager interface and the modules of others are taken to have no more. Over HTTP the manager interface has, and no
/// reader can tell there.
const OTHERS: usize = 247;

/// What the end of a line costs.
const LINE_END: usize = 6;

/// The room that is left to an attacker who wrote this, with an empty line behind it, into an event of this service.
pub(super) fn behind(service: Service, written: &[u8]) -> usize {
    let room = match service {
        Service::Pjsip => PJSIP,
        Service::Sip | Service::Ami | Service::Other => OTHERS,
    };
    room.saturating_sub(cost(written) + 2 * LINE_END)
}

/// What is left of `room` to an attacker who wrote this frame too.
pub(super) fn after(room: usize, frame: &[u8]) -> usize {
    // An empty frame consists of one line end.
    let line_ends = if frame.is_empty() { 1 } else { 2 };
    room.saturating_sub(cost(frame) + line_ends * LINE_END)
}

/// The least that an attacker wrote of this frame if it is the rest of an event that he cut: all that stands before the
/// fields that name the sender. If there are none, he wrote all of it and the end of its last line. The empty line
/// behind that may be the line end that Asterisk writes behind the account.
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
