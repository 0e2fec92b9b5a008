//! Recorded streams of real Asterisks, live.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use serde::Deserialize;

use crate::lab::asterisk::{Step, accept, cut};
use crate::lab::netns::Variant;
use crate::lab::{Lab, challenge, net};

/// What `expect.json` says of a stream.
#[derive(Deserialize)]
struct Expected {
    block: Vec<IpAddr>,
    not: Vec<IpAddr>,
}

/// Comes behind each stream, and leaves challenges unanswered: when the last of its kind is blocked, nobody before
/// can be waiting for a judgement any more.
const LAST: &str = "192.0.2.99";

/// At most this many machines run at a time. They mostly wait.
const AT_ONCE: usize = 40;

#[test]
fn every_recorded_stream_comes_out_as_expected_and_nobody_made_up_by_an_attacker_is_blocked() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    let expected: BTreeMap<String, Expected> =
        serde_json::from_str(&fs::read_to_string(folder.join("expect.json")).unwrap()).unwrap();
    let files = ["ast16", "ast22"].map(|asterisk| fs::read_dir(folder.join(asterisk)).unwrap());
    let files: Vec<PathBuf> = files.into_iter().flatten().map(|file| file.unwrap().path()).collect();
    assert!(files.len() > 30);
    let files = Mutex::new(files.into_iter().enumerate());
    let next = || files.lock().unwrap().next();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            let work = || {
                while let Some((number, file)) = next() {
                    let variant = if number % 2 == 0 { Variant::Nft } else { Variant::Legacy };
                    let name = file.file_stem().unwrap().to_str().unwrap();
                    feed(variant, name, &fs::read(&file).unwrap(), expected.get(name));
                }
            };
            thread::Builder::new().name("captures".into()).spawn_scoped(scope, work).unwrap();
        }
    });
}

fn feed(variant: Variant, name: &str, stream: &[u8], expected: Option<&Expected>) {
    let (greeting, events) = cut(stream);
    let last: Vec<u8> = (0..6).flat_map(|session| challenge(LAST, session)).collect();
    let script = vec![
        Step::Courtesy,
        Step::Send(greeting.to_vec()),
        Step::Expect("Login", &[]),
        accept(),
        Step::Send([events, &last].concat()),
        Step::Stay,
    ];
    let Some(mut lab) = Lab::facing(variant, vec![script]) else { return };
    lab.start();
    lab.wait_for_log(&format!("BLOCK => {LAST} (Challenge Sent)"));
    let blocked = lab.blocked();
    let is_blocked = |address: &IpAddr| blocked.iter().any(|net| net.contains(address));
    // Every machine of the laboratory where the streams were made was in one of these. That a whole datagram is
    // forged, as in the streams spoof-*, no event shows.
    let forged = if name.starts_with("spoof") { "203.0.113.77" } else { LAST };
    let real = ["198.18.0.0/24", "2001:db8:18::/64", "fe80::/64", LAST, forged].map(net);
    for block in &blocked {
        assert!(real.iter().any(|real| real.contains(block)), "{name}: {block} is made up");
        let line =
            if block.prefix_len() == block.max_prefix_len() { block.addr().to_string() } else { block.to_string() };
        assert_eq!(lab.logged(&format!("BLOCK => {line} (")), 1, "{name}: {line}");
    }
    assert_eq!(lab.logged("BLOCK => "), blocked.len(), "{name}: {}", lab.log());
    let Some(Expected { block, not }) = expected else { return };
    for address in block {
        assert!(is_blocked(address), "{name}: {address} is not blocked, but {blocked:?}");
    }
    for address in not {
        assert!(!is_blocked(address), "{name}: {address} is blocked: {blocked:?}");
    }
}
