//! The real daemon with lists, in a network of the test's own: packets say who is blocked.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use nix::sys::signal::Signal;
use sipban::model::clock::Clock;

use super::lab::netns::{Netns, Variant, call};
use super::lab::{DEADLINE, Lab, event, wait_until};
use super::server::{Server, addresses, always, whole};

const OWN: &str = "45.10.66.2";
const LISTED: &str = "45.10.66.66";
const FRIEND: &str = "45.10.66.77";
/// In no list.
const OTHER: &str = "45.10.66.99";
const OWN6: &str = "2a00:66::2";
const LISTED6: &str = "2a00:66::66";
const OTHER6: &str = "2a00:66::99";

/// A guarded machine, and the outside.
struct Field {
    lab: Lab,
    outside: Netns,
}

/// Tries it with each way to hold lists.
fn each(test: impl Fn(Field)) {
    for (variant, backend) in
        [(Variant::Nft, "nft"), (Variant::Nft, "ipset"), (Variant::Legacy, "ipset"), (Variant::Nft, "iptables")]
    {
        let Some(mut lab) = Lab::new(variant) else { return };
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let far = [LISTED, FRIEND, OTHER, LISTED6, OTHER6].map(address);
        let Some(outside) = lab.netns.joined(&[OWN, OWN6].map(address), &far) else { return };
        lab.set("iptables.backend", backend);
        lab.set("iptables.verify", 1);
        fs::write(lab.path("white_list"), format!("127.0.0.1\n{FRIEND}\n")).unwrap();
        test(Field { lab, outside });
    }
}

impl Field {
    /// Whether a packet from there arrives before one from elsewhere that was sent after it.
    fn arrives(&self, from: &str) -> bool {
        let (own, other) = if from.contains(':') { (OWN6, OTHER6) } else { (OWN, OTHER) };
        let phone = self.lab.netns.enter(|| UdpSocket::bind((own, 5060)).unwrap());
        phone.set_read_timeout(Some(DEADLINE)).unwrap();
        for from in [from, other] {
            self.outside.enter(|| UdpSocket::bind((from, 0)).unwrap().send_to(b"REGISTER", (own, 5060)).unwrap());
        }
        phone.recv_from(&mut [0; 64]).unwrap().1.ip() == from.parse::<IpAddr>().unwrap()
    }

    #[track_caller]
    fn wait_for(&self, from: &str, arrives: bool) {
        wait_until(&format!("{from} to arrive: {arrives}\n{}", self.lab.log()), || self.arrives(from) == arrives);
    }

    fn server(&self, list: String) -> Server {
        self.lab.netns.enter(|| Server::start(always(whole("200 OK", "", list))))
    }

    fn stop(&self, server: &Server) {
        self.lab.netns.enter(|| server.stop());
    }

    /// What there is of lists in the kernel, in words.
    fn traces(&self) -> Vec<String> {
        let rules = ["iptables-save", "ip6tables-save"].map(|tool| self.lab.tool(tool, "").unwrap()).concat();
        let sets = self.lab.netns.enter(|| call("ipset", &["list", "-n"])).unwrap();
        let tables = self.lab.nft("list tables").unwrap();
        let lines = rules.lines().chain(sets.lines()).chain(tables.lines());
        lines.filter(|line| line.contains("-lists") || line.contains('+')).map(str::to_owned).collect()
    }
}

#[test]
fn whoever_is_listed_is_blocked_but_for_those_who_are_spared() {
    each(|mut field| {
        fs::write(field.lab.path("list"), "45.10.66.64/27 # a network\n2a00:66::66\n").unwrap();
        let list = field.lab.path("list").display().to_string();
        field.lab.set("feed mine.url", list);
        field.lab.start();
        field.lab.wait_for_log("FEED => mine: 2 entries in force");
        assert!(!field.arrives(LISTED) && !field.arrives(LISTED6));
        assert!(field.arrives(FRIEND), "the white list wins");
        let why = field.lab.console(&format!("why {LISTED}"));
        assert!(why.contains("List         held by mine (45.10.66.64/27)\n"), "{why}");
        let why = field.lab.console(&format!("why {FRIEND}"));
        assert!(why.contains("held by mine (45.10.66.64/27), and is spared"), "{why}");
        let status = field.lab.console("status");
        assert!(status.contains("List         mine: 2 entries of ["), "{status}");
        // The blocks are others.
        assert_eq!(field.lab.console("block"), "");
        field.lab.console("flush");
        assert!(!field.arrives(LISTED));
        // Whoever is spared from now on is free, and who is not any more is blocked.
        field.lab.console(&format!("wl del {FRIEND}"));
        field.wait_for(FRIEND, false);
        field.lab.console(&format!("wl add {LISTED}"));
        field.wait_for(LISTED, true);
        field.lab.console(&format!("wl add {LISTED6}"));
        field.wait_for(LISTED6, true);
        let login = event("SuccessfulAuth", "Informational", "100", FRIEND, "1-9", "UsingPassword: 1\r\n");
        field.lab.say(login);
        field.wait_for(FRIEND, true);
        assert!(!field.traces().is_empty());
        field.lab.stop();
        assert_eq!(field.traces(), [""; 0]);
        assert!(field.arrives(LISTED));
    });
}

#[test]
fn whoever_lives_there_is_spared_from_the_start_and_a_reload_brings_whom_the_white_list_spares() {
    each(|mut field| {
        fs::write(field.lab.path("list"), "45.10.66.64/27\n").unwrap();
        let list = field.lab.path("list").display().to_string();
        field.lab.set("feed mine.url", list);
        field.lab.start();
        field.wait_for(LISTED, false);
        field.lab.say(event("SuccessfulAuth", "Informational", "100", LISTED, "1-9", "UsingPassword: 1\r\n"));
        field.wait_for(LISTED, true);
        field.lab.stop();
        field.lab.start();
        field.lab.wait_for_log("FEED => mine: 1 entries in force");
        assert!(field.arrives(LISTED));
        // By hand, and then a reload.
        let white_list = |field: &Field, text: &str| {
            fs::write(field.lab.path("white_list"), text).unwrap();
            field.lab.signal(Signal::SIGHUP);
        };
        white_list(&field, "127.0.0.1\n");
        field.wait_for(FRIEND, false);
        white_list(&field, "127.0.0.1\n45.10.66.72/29\n");
        field.wait_for(FRIEND, true);
        assert!(field.arrives(LISTED));
    });
}

#[test]
fn a_list_that_cannot_be_believed_leaves_the_one_before_in_force() {
    each(|mut field| {
        let list = format!("{}{LISTED}\n", addresses(40));
        let server = field.server(list.clone());
        field.lab.set("feed net.url", server.url("/list"));
        field.lab.set("feed net.every", 1);
        field.lab.start();
        field.lab.wait_for_log("FEED => net: 41 entries in force");
        field.wait_for(LISTED, false);
        for (answer, cause) in [
            (whole("200 OK", "", ""), "it is empty"),
            (whole("200 OK", "", addresses(10)), "75 percent of it differ from the one in force"),
            (whole("200 OK", "", format!("{list}0.0.0.0\n")), "it holds 0.0.0.0: nobody on the Internet"),
            (whole("200 OK", "", format!("{list}8.8.8.8\n")), "it holds 8.8.8.8: that is a public name server"),
            (whole("200 OK", "", format!("{list}{OWN}\n")), "it holds 45.10.66.2: that is this machine"),
            (whole("404 Not Found", "", ""), "the server answers 404"),
        ] {
            server.answer(always(answer));
            field.lab.wait_for_log(&format!("FEED => net: not taken: {cause}"));
        }
        assert!(field.lab.log().contains("stays in force"), "{}", field.lab.log());
        assert!(!field.arrives(LISTED));
        let status = field.lab.console("status");
        assert!(status.contains("net: 41 entries"), "{status}");
        server.answer(always(whole("200 OK", "", addresses(40))));
        field.lab.wait_for_log("FEED => net: 40 entries in force");
        assert!(field.arrives(LISTED));
        field.lab.wait_for_log("FEED => net: well again");
        field.stop(&server);
    });
}

#[test]
fn the_copy_is_in_force_after_a_crash_until_the_list_is_not_configured_any_more() {
    each(|mut field| {
        let server = field.server(format!("{}{LISTED}\n", addresses(40)));
        field.lab.set("feed net.url", server.url("/list"));
        field.lab.start();
        field.lab.wait_for_log("FEED => net: 41 entries in force");
        field.stop(&server);
        field.lab.kill();
        assert!(!field.arrives(LISTED), "the kernel goes on alone");
        field.lab.start();
        field.lab.wait_for_log("FEED => net: 41 entries in force");
        assert!(!field.arrives(LISTED));
        assert_eq!(server.asked().len(), 1, "what is held is not asked for again");
        field.lab.kill();
        field.lab.unset("feed net");
        field.lab.start();
        field.lab.wait_for_log("of lists before is gone");
        assert_eq!(field.traces(), [""; 0]);
        assert!(field.arrives(LISTED));
    });
}

#[test]
fn the_copy_of_a_list_from_elsewhere_is_not_used() {
    each(|mut field| {
        let old = field.server(format!("{}{LISTED}\n", addresses(40)));
        let new = field.server("45.10.9.9\n".to_owned());
        field.lab.set("feed net.url", old.url("/list"));
        field.lab.start();
        field.lab.wait_for_log("FEED => net: 41 entries in force");
        field.lab.kill();
        field.lab.set("feed net.url", new.url("/list"));
        field.lab.start();
        field.lab.wait_for_log("is not used: it is the copy of a list from elsewhere");
        // However much it differs from the other.
        field.lab.wait_for_log("FEED => net: 1 entries in force");
        field.wait_for(LISTED, true);
        [old, new].iter().for_each(|server| field.stop(server));
    });
}

#[test]
fn what_others_remove_comes_back() {
    each(|mut field| {
        fs::write(field.lab.path("list"), format!("{LISTED}\n")).unwrap();
        let list = field.lab.path("list").display().to_string();
        field.lab.set("feed mine.url", list);
        field.lab.start();
        field.lab.wait_for_log("FEED => mine: 1 entries in force");
        field.wait_for(LISTED, false);
        for tool in ["iptables", "ip6tables"] {
            field.lab.tool(tool, "-F").unwrap();
        }
        field.lab.netns.enter(|| call("ipset", &["flush"])).unwrap();
        let _ = field.lab.nft("delete table inet sipban-lists");
        assert!(field.arrives(LISTED));
        field.lab.wait_for_log("REPAIR => of the lists: ");
        field.wait_for(LISTED, false);
    });
}

#[test]
fn a_source_that_is_silent_for_too_long_blocks_nobody_any_more() {
    each(|mut field| {
        let server = field.server(format!("{}{LISTED}\n", addresses(40)));
        field.lab.set("feed net.url", server.url("/list"));
        field.lab.set("feed net.every", 1);
        field.lab.set("feed net.keep", 3);
        field.lab.start();
        field.lab.wait_for_log("FEED => net: 41 entries in force");
        field.wait_for(LISTED, false);
        server.answer(always(whole("503 Gone", "", "")));
        field.lab.wait_for_log("FEED => net: silent for 3 s: its entries end");
        field.wait_for(LISTED, true);
        server.answer(always(whole("200 OK", "", addresses(3))));
        field.lab.wait_for_log("FEED => net: 3 entries in force");
        field.stop(&server);
    });
}

#[test]
fn without_lists_there_is_no_thread_for_them() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    lab.start();
    let threads = |lab: &Lab| -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", lab.pid())).unwrap();
        tasks.map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap().trim().to_owned()).collect()
    };
    assert!(!threads(&lab).iter().any(|name| name == "feeds" || name == "lists"), "{:?}", threads(&lab));
    lab.stop();
    fs::write(lab.path("list"), LISTED).unwrap();
    let list = lab.path("list").display().to_string();
    lab.set("feed mine.url", list);
    lab.start();
    lab.wait_for_log("FEED => mine: 1 entries in force");
    assert!(["feeds", "lists"].iter().all(|name| threads(&lab).iter().any(|thread| thread == name)));
}

#[test]
fn a_block_does_not_wait_for_a_large_list() {
    each(|mut field| {
        // Each tenth address, so that none of them are neighbours.
        let many: String =
            (0..300_000_u32).map(|n| format!("{}\n", std::net::Ipv4Addr::from_bits(0x2e00_0000 + 10 * n))).collect();
        fs::write(field.lab.path("list"), many).unwrap();
        let list = field.lab.path("list").display().to_string();
        field.lab.set("feed large.url", list);
        field.lab.start();
        let clock = Clock::start();
        let mut slowest = Duration::ZERO;
        let mut blocks = 0;
        while field.lab.logged("FEED => large: 300000 entries in force") == 0 && blocks < 200 {
            let began = clock.now().monotonic;
            assert!(field.lab.console(&format!("block 45.11.0.{blocks} 600")).ends_with(" block"));
            slowest = slowest.max(clock.now().monotonic - began);
            blocks += 1;
        }
        field.lab.wait_for_log("FEED => large: 300000 entries in force");
        let whole = clock.now().monotonic;
        assert!(blocks > 3 && slowest < whole, "{blocks} blocks, the slowest {slowest:?} of {whole:?}");
    });
}
