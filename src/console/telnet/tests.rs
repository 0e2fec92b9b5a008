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
