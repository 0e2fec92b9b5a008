//! The shield: who floods loses packets and then all, who is at home loses nothing.

use std::net::{IpAddr, UdpSocket};

use crate::lab::{DEADLINE, each, event, wait_until};

#[test]
fn a_stranger_who_floods_is_shed_then_blocked_and_who_logs_in_loses_nothing() {
    each(|mut lab| {
        let [near, flooder, phone] =
            ["198.18.0.1", "198.18.0.66", "198.18.0.77"].map(|it| it.parse::<IpAddr>().unwrap());
        let Some(outside) = lab.netns.joined(&[near], &[flooder, phone]) else { return };
        lab.set("shield.mode", "on");
        lab.set("shield.patience", 3);
        lab.start();
        let pbx = lab.netns.enter(|| UdpSocket::bind((near, 5060)).unwrap());
        pbx.set_read_timeout(Some(DEADLINE)).unwrap();
        let send = |from: IpAddr, count: usize| {
            outside.enter(|| {
                let socket = UdpSocket::bind((from, 0)).unwrap();
                for _ in 0..count {
                    socket.send_to(b"OPTIONS", (near, 5060)).unwrap();
                }
            });
        };
        wait_until("the shield to name him", || {
            send(flooder, 100);
            lab.console("top shield").contains("198.18.0.66")
        });
        assert!(lab.console("status").contains("on: 1 strangers over 60 packets in 10 s"));

        // At home from the moment of the login on.
        lab.say(event("SuccessfulAuth", "Informational", "101", &phone.to_string(), "1-8", "UsingPassword: 1\r\n"));
        wait_until("the phone to be at home", || {
            lab.console(&format!("why {phone}")).contains("no stranger: all pass")
        });
        send(phone, 150);
        let mut senders = std::iter::repeat_with(|| pbx.recv_from(&mut [0; 64]).unwrap().1.ip());
        assert_eq!(senders.by_ref().filter(|from| *from == phone).take(150).count(), 150);

        wait_until("the block", || {
            send(flooder, 100);
            lab.logged("BLOCK => 198.18.0.66 (Flood)") > 0
        });
        assert!(lab.is_blocked("198.18.0.66"));
        assert_eq!(lab.logged("SHED => 198.18.0.77"), 0);
        lab.stop();
        assert!(lab.rules().iter().all(|rule| !rule.contains("sipban")), "{:?}", lab.rules());
    });
}
