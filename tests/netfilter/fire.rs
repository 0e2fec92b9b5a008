//! An attacker who never stops.

use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use crate::netns::Netns;

pub const OURS: &str = "198.18.0.1";
pub const THEIRS: &str = "198.18.0.66";

/// Does something while the attacker sends without a pause, of whom nothing may arrive.
pub fn under_fire<T>(outside: &Netns, work: impl FnOnce() -> T) -> T {
    let [ours, theirs] = [OURS, THEIRS].map(|text| text.parse::<IpAddr>().unwrap());
    let phone = UdpSocket::bind((ours, 5060)).unwrap();
    phone.set_nonblocking(true).unwrap();
    let to = phone.local_addr().unwrap();
    let (over, sent) = (AtomicBool::new(false), AtomicU32::new(0));
    let attack = || {
        let socket = UdpSocket::bind((theirs, 0)).unwrap();
        while !over.load(Ordering::Relaxed) {
            // A full queue of the cable is no reason to stop.
            let _ = socket.send_to(b"OPTIONS", to);
            sent.fetch_add(1, Ordering::Relaxed);
        }
    };
    let wait_for_more = || {
        let before = sent.load(Ordering::Relaxed);
        while sent.load(Ordering::Relaxed) < before + 100 {
            thread::yield_now();
        }
    };
    /// Ends the attack, whatever becomes of the work.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    thread::scope(|scope| {
        let ends = Over(&over);
        scope.spawn(|| outside.enter(attack));
        wait_for_more();
        let done = work();
        wait_for_more();
        drop(ends);
        let arrived = phone.recv_from(&mut [0; 64]);
        assert!(arrived.is_err(), "{arrived:?}");
        done
    })
}
