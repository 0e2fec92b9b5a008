//! Any bytes typed at the console: cutting them elsewhere changes nothing, lines are bounded and free of control
//! characters, a network to block has no bits behind its prefix, and no error text brings control characters back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sipban::console::command::{self, Command};
use sipban::console::request::Request;
use sipban::console::telnet::{Input, MAX_LINE, Telnet};

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (step, hide, bytes) = input;
    let whole = decode(bytes, bytes.len().max(1), hide);
    assert_eq!(decode(bytes, usize::from(step).max(1), hide), whole);
    for input in whole.0 {
        let Input::Line(line) = input else { continue };
        assert!(
            !line.chars().any(char::is_control) || line.chars().any(|letter| ('\u{80}'..'\u{a0}').contains(&letter))
        );
        // A byte that is no text becomes a sign of three.
        assert!(line.len() <= 3 * MAX_LINE);
        command::is_foreign(&line);
        match command::parse(&line) {
            Ok(Command::Ask { request: Request::Block(net, _) | Request::Unblock(net), .. }) => {
                assert_eq!(net, net.trunc());
            }
            Ok(_) => {}
            Err(text) => assert!(!text.is_empty() && !text.contains(|letter: char| letter.is_ascii_control())),
        }
    }
});

fn decode(bytes: &[u8], step: usize, hide: bool) -> (Vec<Input>, Vec<u8>) {
    let (mut telnet, mut reply) = (Telnet::default(), Vec::new());
    telnet.hide_typing(hide, &mut reply);
    let inputs = bytes.chunks(step).flat_map(|piece| telnet.feed(piece, &mut reply)).collect();
    (inputs, reply)
}
