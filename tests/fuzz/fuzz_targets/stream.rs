//! Any bytes as a stream of AMI: however it is cut into reads, the same comes out, in bounded memory; and an address
//! is blamed only where the stream has a line `RemoteAddress` with it, behind `LocalAddress` and `SessionID`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sipban::ami::frame::{Frame, Framer, MAX_FRAME};
use sipban::ami::security::Guard;
use sipban::model::security::SecurityEvent;

fuzz_target!(|input: (u16, bool, &[u8])| {
    let (step, padded, stream) = input;
    // No input of the fuzzer is as long as a frame that is too long.
    let stream = if padded { [&vec![b'x'; MAX_FRAME - 40], stream].concat() } else { stream.to_vec() };
    let whole = read(&stream, stream.len().max(1));
    assert_eq!(read(&stream, usize::from(step).max(if padded { 1000 } else { 1 })), whole);
    let senders = senders(&stream);
    for (text, event) in &whole.1 {
        assert!(senders.contains(text), "{event:?} is not in the stream");
    }
});

type Told = (Vec<Vec<u8>>, Vec<(String, SecurityEvent)>);

/// Frames and events, of which the number that stands for a session differs between any two readers.
fn read(stream: &[u8], step: usize) -> Told {
    let (mut framer, mut guard) = (Framer::default(), Guard::default());
    let (mut frames, mut events) = (Vec::new(), Vec::new());
    for piece in stream.chunks(step) {
        framer.push(piece);
        while let Some(frame) = framer.next_frame() {
            frames.push(match &frame {
                Frame::Whole(bytes) => [b"w", *bytes].concat(),
                Frame::Overlong(bytes) => [b"o", *bytes].concat(),
            });
            guard.frame(&frame, &mut events);
        }
        assert!(framer.peek().len() <= MAX_FRAME + 3);
    }
    if framer.is_between_frames() {
        guard.silence(&mut events);
    }
    let events = events.into_iter().map(|event| (shown(&event), SecurityEvent { session: 0, ..event }));
    (frames, events.collect())
}

fn shown(event: &SecurityEvent) -> String {
    format!("{}/{}", event.remote.address, event.remote.port)
}

/// All that the stream calls a sender.
fn senders(stream: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(stream);
    let lines: Vec<&str> = text.split("\r\n").collect();
    let named = |three: &[&str]| {
        three[0].strip_prefix("SessionID: ")?;
        three[1].strip_prefix("LocalAddress: ")?;
        let mut parts = three[2].strip_prefix("RemoteAddress: ")?.split('/').rev();
        let (port, address) = (parts.next()?.parse::<u16>().ok()?, parts.next()?.split('%').next()?);
        Some(format!("{}/{port}", address.parse::<std::net::IpAddr>().ok()?.to_canonical()))
    };
    lines.windows(3).filter_map(named).collect()
}
