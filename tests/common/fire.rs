//! An attacker and an honest phone that send to the PBX without end.

use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::lab::{Lab, wait_until};

pub const PBX: &str = "198.18.0.1";
pub const ATTACKER: &str = "198.18.0.66";
const HONEST: &str = "198.18.0.77";

/// What has arrived at the PBX from both.
#[derive(Default)]
pub struct Arrived {
    attacker: AtomicU64,
    honest: AtomicU64,
    over: AtomicBool,
}

impl Arrived {
    /// Waits until what was on its way has arrived.
    pub fn settle(&self) {
        let before = self.honest.load(Ordering::SeqCst);
        wait_until("honest packets", || self.honest.load(Ordering::SeqCst) > before + 10);
    }

    pub fn attacks(&self) -> u64 {
        self.settle();
        self.attacker.load(Ordering::SeqCst)
    }
}

/// Does this while attacker and an honest phone send to the PBX without end, by turns over one cable.
pub fn under_fire(lab: &mut Lab, test: impl FnOnce(&mut Lab, &Arrived)) {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let Some(outside) = lab.netns.joined(&[address(PBX)], &[address(ATTACKER), address(HONEST)]) else { return };
    let (attacker, honest) =
        outside.enter(|| (UdpSocket::bind((ATTACKER, 0)).unwrap(), UdpSocket::bind((HONEST, 0)).unwrap()));
    let phone = lab.netns.enter(|| UdpSocket::bind((PBX, 5060)).unwrap());
    phone.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let arrived = Arrived::default();
    let send = || {
        while !arrived.over.load(Ordering::SeqCst) {
            for socket in [&attacker, &honest] {
                // One that does not get out is one less, of both alike.
                let _ = socket.send_to(b"INVITE", (PBX, 5060));
            }
            thread::sleep(Duration::from_micros(200));
        }
    };
    let receive = || {
        while !arrived.over.load(Ordering::SeqCst) {
            let Ok((_, from)) = phone.recv_from(&mut [0; 64]) else { continue };
            let count = if from.ip() == address(ATTACKER) { &arrived.attacker } else { &arrived.honest };
            count.fetch_add(1, Ordering::SeqCst);
        }
    };
    /// Ends the threads, whatever becomes of the test.
    struct Over<'a>(&'a Arrived);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.over.store(true, Ordering::SeqCst);
        }
    }
    thread::scope(|scope| {
        let over = Over(&arrived);
        thread::Builder::new().name("receiver".into()).spawn_scoped(scope, receive).unwrap();
        thread::Builder::new().name("sender".into()).spawn_scoped(scope, send).unwrap();
        wait_until("attacks", || arrived.attacker.load(Ordering::SeqCst) > 0);
        test(lab, &arrived);
        // The sender goes on until the receiver has seen it too.
        arrived.settle();
        drop(over);
    });
}
