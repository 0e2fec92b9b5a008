use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use crossbeam_channel::bounded;
use tempfile::TempDir;

use super::startup::Parts;
use super::*;
use crate::config::FirewallConfig;
use crate::console::request::Request;
use crate::firewall::dry_run::DryRun;
use crate::firewall::{Entry, Error, Refused, Scope};
use crate::logging::{self, Target};
use crate::model::block::Reason;
use crate::model::clock::{Recorded, UnixTime};
use crate::model::security::{Endpoint, Kind, Service, Transport};

const DAY: u64 = 86_400;

/// A machine whose firewall, folder and clock outlive the daemon.
struct Machine {
    kernel: Kernel,
    folder: TempDir,
    clock: Recorded,
}

impl Machine {
    fn new() -> Machine {
        let clock = Recorded::default();
        clock.set(1_000_000_000_000);
        Machine { kernel: Kernel::default(), folder: tempfile::tempdir().unwrap(), clock }
    }

    fn start(&self) -> Owner {
        let path = |name: &str| self.folder.path().join(name);
        let config = Config { white_list: path("wl"), dump: path("dump"), journal: path("bans"), ..Config::default() };
        let kernel = self.kernel.clone();
        Owner::new(Parts {
            journal: Some(Journal::open(&config.journal).unwrap()),
            firewall: Box::new(|_, _| Ok(Box::new(kernel))),
            config,
            config_file: path("conf"),
            clock: Clock::recorded(&self.clock),
            log: log().clone(),
            resolver: None,
        })
        .unwrap()
    }

    fn white_list(&self, text: &str) {
        fs::write(self.folder.path().join("wl"), text).unwrap();
    }

    fn pass(&self, owner: &mut Owner, seconds: u64) {
        self.clock.set(self.clock.now() + seconds as i64 * 1000);
        owner.turn(vec![Event::Tick]);
    }

    fn holds(&self, address: &str) -> bool {
        let net = IpNet::from(address.parse::<IpAddr>().unwrap());
        self.kernel.0.lock().unwrap().in_force().contains(&net)
    }
}

/// A firewall that stays when the owner goes.
#[derive(Clone, Default)]
struct Kernel(Arc<Mutex<DryRun>>, Arc<Mutex<Lead>>);

/// What it was told to lead through the chain last, and whether it takes that.
#[derive(Default)]
struct Lead {
    scope: Option<Scope>,
    refuses: bool,
}

impl Kernel {
    fn refuse(&self, nets: &[&str]) {
        self.0.lock().unwrap().refuse(nets.iter().map(|net| net.parse().unwrap()));
    }
}

impl Firewall for Kernel {
    fn set_up(&mut self, now: UnixTime) -> Result<Vec<Entry>, Error> {
        self.0.lock().unwrap().set_up(now)
    }
    fn apply(&mut self, book: &Book, change: &Change, now: UnixTime) -> Vec<Refused> {
        self.0.lock().unwrap().apply(book, change, now)
    }
    fn capacity(&self) -> usize {
        100
    }
    fn verify(&mut self, book: &Book, now: UnixTime) -> Result<Option<String>, Error> {
        self.0.lock().unwrap().verify(book, now)
    }
    fn set_scope(&mut self, scope: Scope) -> Result<(), Error> {
        self.1.lock().unwrap().set(scope)
    }
    fn reconfigure(&mut self, _: &FirewallConfig, scope: Scope, _: &Book, _: UnixTime) -> Result<(), Error> {
        self.1.lock().unwrap().set(scope)
    }
    fn packets(&mut self, _: &IpNet) -> Option<u64> {
        None
    }
    fn tear_down(&mut self) -> Result<(), Error> {
        self.0.lock().unwrap().tear_down()
    }
    fn describe(&self) -> String {
        "a test's".into()
    }
}

impl Lead {
    fn set(&mut self, scope: Scope) -> Result<(), Error> {
        if self.refuses {
            return Err(Error("a test".into()));
        }
        self.scope = Some(scope);
        Ok(())
    }
}

fn log() -> &'static LogHandle {
    static LOG: OnceLock<LogHandle> = OnceLock::new();
    LOG.get_or_init(|| logging::start(Target::Stderr, log::LevelFilter::Off, Clock::start()).unwrap())
}

fn attack(from: &str) -> Event {
    security(Kind::InvalidAccountId, from)
}

fn security(kind: Kind, from: &str) -> Event {
    security_on(5060, kind, from)
}

fn security_on(port: u16, kind: Kind, from: &str) -> Event {
    let endpoint = |address: &str| Endpoint { address: address.parse().unwrap(), transport: Transport::Udp, port };
    Event::Security(vec![SecurityEvent {
        kind,
        service: Service::Pjsip,
        account: b"100".as_slice().into(),
        session: 1,
        local: endpoint("198.18.0.1"),
        remote: endpoint(from),
        time: None,
    }])
}

fn ask(owner: &mut Owner, request: Request) -> Reply {
    let (sender, replies) = bounded(4);
    owner.turn(vec![Event::Request(request, sender)]);
    replies.try_recv().unwrap()
}

#[test]
fn an_attacker_is_blocked_for_a_day_and_then_free() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    assert!(machine.holds("203.0.113.7"));
    machine.pass(&mut owner, DAY - 1);
    assert!(machine.holds("203.0.113.7"));
    machine.pass(&mut owner, 1);
    assert!(!machine.holds("203.0.113.7"));
}

#[test]
fn blocks_keep_their_end_through_a_crash() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7"), attack("203.0.113.8")]);
    let before: Vec<_> = owner.blocks().collect();
    drop(owner);
    let mut owner = machine.start();
    assert_eq!(owner.blocks().collect::<Vec<_>>(), before);
    machine.pass(&mut owner, DAY);
    assert!(!machine.holds("203.0.113.7"));
}

#[test]
fn what_only_the_journal_knows_is_blocked_again_at_start() {
    let mut machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    drop(owner);
    machine.kernel = Kernel::default();
    let _owner = machine.start();
    assert!(machine.holds("203.0.113.7"));
}

#[test]
fn what_only_the_kernel_knows_is_adopted_at_start() {
    let machine = Machine::new();
    *machine.kernel.0.lock().unwrap() = DryRun::holding(["203.0.113.9/32".parse().unwrap()]);
    let mut owner = machine.start();
    assert_eq!(owner.blocks().map(|(_, block)| block.reason).collect::<Vec<_>>(), [Reason::Adopted]);
    machine.pass(&mut owner, DAY);
    assert!(!machine.holds("203.0.113.9"));
}

#[test]
fn who_came_onto_the_white_list_meanwhile_is_free_at_start() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    drop(owner);
    machine.white_list("203.0.113.0/24\n");
    let _owner = machine.start();
    assert!(!machine.holds("203.0.113.7"));
}

#[test]
fn a_block_that_the_kernel_refused_is_not_claimed_and_is_tried_again() {
    let machine = Machine::new();
    let mut owner = machine.start();
    machine.kernel.refuse(&["203.0.113.7/32"]);
    owner.turn(vec![attack("203.0.113.7"), attack("203.0.113.8")]);
    assert!(!machine.holds("203.0.113.7"));
    assert!(machine.holds("203.0.113.8"));
    assert_eq!(owner.blocks().count(), 1);
    machine.kernel.refuse(&[]);
    machine.pass(&mut owner, 1);
    assert!(machine.holds("203.0.113.7"));
    assert_eq!(owner.blocks().count(), 2);
}

#[test]
fn a_wall_clock_that_is_set_neither_frees_nor_keeps() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    let shift = |owner: &mut Owner, wall: i64| {
        // What the tick sees: a second has passed, and the wall clock shows a year more or less.
        let before = owner.looked;
        owner.follow_clock(Now {
            wall: UnixTime(before.wall.0.saturating_add_signed(wall) + 1),
            monotonic: before.monotonic + std::time::Duration::from_secs(1),
        });
    };
    let end = |owner: &Owner| owner.blocks().next().unwrap().1.end;
    let before = end(&owner);
    shift(&mut owner, 365 * DAY as i64);
    assert_eq!(end(&owner), before + 365 * DAY);
    shift(&mut owner, -365 * (DAY as i64));
    assert_eq!(end(&owner), before);
}

#[test]
fn restore_brings_back_what_flush_took_and_then_the_dump_goes() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7"), attack("2001:db8:1::7")]);
    let before: Vec<_> = owner.blocks().collect();
    assert!(matches!(ask(&mut owner, Request::Flush), Reply::Flushed { .. }));
    assert_eq!(owner.blocks().count(), 0);
    assert!(!machine.holds("203.0.113.7"));
    assert!(matches!(ask(&mut owner, Request::Restore), Reply::Restored { problems, .. } if problems.is_empty()));
    assert_eq!(owner.blocks().collect::<Vec<_>>(), before);
    assert_eq!(ask(&mut owner, Request::Restore), Reply::NoDump);
}

#[test]
fn a_dump_that_was_not_restored_as_a_whole_stays() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7"), attack("203.0.113.8")]);
    assert!(matches!(ask(&mut owner, Request::Flush), Reply::Flushed { .. }));
    machine.kernel.refuse(&["203.0.113.7/32"]);
    match ask(&mut owner, Request::Restore) {
        Reply::Restored { blocks, problems, .. } => assert_eq!((blocks.len(), problems.len()), (1, 1)),
        other => panic!("{other:?}"),
    }
    machine.kernel.refuse(&[]);
    assert!(matches!(ask(&mut owner, Request::Restore), Reply::Restored { problems, .. } if problems.is_empty()));
}

#[test]
fn a_new_entry_of_the_white_list_frees_at_once_and_is_kept() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    let added = ask(&mut owner, Request::WhiteListAdd("203.0.113.0/24".into()));
    assert!(matches!(added, Reply::WhiteListAdded { freed, .. } if freed.len() == 1));
    assert!(!machine.holds("203.0.113.7"));
    owner.turn(vec![attack("203.0.113.7")]);
    assert!(!machine.holds("203.0.113.7"));
    assert_eq!(fs::read_to_string(machine.folder.path().join("wl")).unwrap(), "203.0.113.0/24\n");
    let net: IpNet = "203.0.113.7/32".parse().unwrap();
    assert!(matches!(ask(&mut owner, Request::Block(net, None)), Reply::InWhiteList { .. }));
}

#[test]
fn an_address_that_the_kernel_does_not_free_is_not_said_to_be_free() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    machine.kernel.refuse(&["203.0.113.7/32"]);
    let added = ask(&mut owner, Request::WhiteListAdd("203.0.113.7".into()));
    assert!(matches!(added, Reply::WhiteListAdded { freed, .. } if freed.is_empty()));
    assert!(machine.holds("203.0.113.7"));
}

#[test]
fn in_a_flood_of_forged_sources_old_blocks_make_room_but_not_the_administrators() {
    let machine = Machine::new();
    let mut owner = machine.start();
    ask(&mut owner, Request::Block("203.0.113.1/32".parse().unwrap(), Some(60)));
    for n in 0..150 {
        owner.turn(vec![attack(&format!("198.51.100.{n}"))]);
        machine.pass(&mut owner, 0);
    }
    assert_eq!(owner.blocks().count(), 100);
    assert!(machine.holds("203.0.113.1"));
    assert!(machine.holds("198.51.100.149"));
}

#[test]
fn what_the_kernel_would_not_free_is_freed_later() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    machine.kernel.refuse(&["203.0.113.7/32"]);
    ask(&mut owner, Request::WhiteListAdd("203.0.113.7".into()));
    assert!(machine.holds("203.0.113.7"));
    // However long it refuses, also past the end of the block, it is one block to be freed.
    for _ in 0..3 {
        machine.pass(&mut owner, DAY);
        assert_eq!(owner.unfreed.len(), 1);
    }
    machine.kernel.refuse(&[]);
    machine.pass(&mut owner, 1);
    assert!(!machine.holds("203.0.113.7"));
    assert_eq!(owner.blocks().count(), 0);
}

#[test]
fn trust_survives_a_restart() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![security(Kind::SuccessfulAuth { using_password: true }, "203.0.113.7")]);
    drop(owner);
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    assert!(!machine.holds("203.0.113.7"));
}

#[test]
fn a_clean_stop_clears_the_rules_and_the_next_start_brings_them_back() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    let (sender, inbox) = bounded(1);
    sender.send(Event::Shutdown).unwrap();
    owner.run(&inbox);
    assert!(!machine.holds("203.0.113.7"));
    let _owner = machine.start();
    assert!(machine.holds("203.0.113.7"));
}

#[test]
fn a_configuration_that_does_not_parse_leaves_the_old_one_in_force() {
    let machine = Machine::new();
    let mut owner = machine.start();
    let reload = |owner: &mut Owner, text: &str| {
        fs::write(owner.config_file.clone(), text).unwrap();
        owner.turn(vec![Event::Reload]);
    };
    let file = |key: &str| {
        let path = |name: &str| -> String { Path::display(&machine.folder.path().join(name)).to_string() };
        format!(
            "[ami]\nuser = a\npass = b\n[limits]\n{key}\n[iptables]\nwhite_list = {}\n[log]\nfile = {}\nlevel = error\n",
            path("wl"),
            path("log")
        )
    };
    reload(&mut owner, &file("unknown_account = 2"));
    owner.turn(vec![attack("203.0.113.7")]);
    assert!(!machine.holds("203.0.113.7"));
    reload(&mut owner, &file("unknown_acount = 9"));
    owner.turn(vec![attack("203.0.113.7")]);
    assert!(machine.holds("203.0.113.7"));
}

fn udp(ports: &[(u16, u16)]) -> Option<Scope> {
    Some(Scope::Ports { udp: ports.into(), tcp: vec![(5060, 5061)] })
}

#[test]
fn a_blocked_address_is_blocked_on_the_other_port_it_attacks_too() {
    let machine = Machine::new();
    let scope = || machine.kernel.1.lock().unwrap().scope.clone();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    let end = owner.blocks().next().unwrap().1.end;
    machine.pass(&mut owner, 9);
    owner.turn(vec![security_on(5080, Kind::ChallengeSent, "203.0.113.7")]);
    assert_eq!(scope(), None);
    owner.turn(vec![security_on(5080, Kind::InvalidAccountId, "203.0.113.7")]);
    assert_eq!(scope(), udp(&[(5060, 5061), (5080, 5080)]));
    assert_eq!(owner.blocks().map(|(_, block)| block.end).collect::<Vec<_>>(), [end]);
    assert_eq!(owner.stats.blocks, 1);
    drop(owner);
    let owner = machine.start();
    assert_eq!(owner.covered.to_string(), "UDP 5060-5061, 5080; TCP 5060-5061");
}

#[test]
fn a_port_that_the_kernel_did_not_lead_through_the_chain_is_tried_again() {
    let machine = Machine::new();
    let mut owner = machine.start();
    machine.kernel.1.lock().unwrap().refuses = true;
    owner.turn(vec![security_on(5080, Kind::InvalidAccountId, "203.0.113.7")]);
    machine.kernel.1.lock().unwrap().refuses = false;
    let verify = owner.config.firewall.verify;
    machine.pass(&mut owner, verify);
    assert_eq!(machine.kernel.1.lock().unwrap().scope, udp(&[(5060, 5061), (5080, 5080)]));
}

#[test]
fn a_reload_leaves_alone_what_needs_a_restart_and_tries_again_what_was_refused() {
    let machine = Machine::new();
    let mut owner = machine.start();
    let path = |name: &str| -> String { Path::display(&machine.folder.path().join(name)).to_string() };
    let [list, log] = [path("wl"), path("log")];
    let text = format!(
        "[ami]\nuser = a\npass = b\n[iptables]\nchain = other\nscope = \"\"\nwhite_list = {list}\n\
         [log]\nfile = {log}\nlevel = error\n"
    );
    fs::write(owner.config_file.clone(), text).unwrap();
    machine.kernel.1.lock().unwrap().refuses = true;
    owner.turn(vec![Event::Reload]);
    assert_eq!(owner.covered.scope(), udp(&[(5060, 5061)]).unwrap());
    machine.kernel.1.lock().unwrap().refuses = false;
    owner.turn(vec![Event::Reload]);
    assert_eq!(machine.kernel.1.lock().unwrap().scope, Some(Scope::All));
    assert_eq!(owner.covered.scope(), Scope::All);
    assert_eq!(owner.config.firewall.chain, "sipban-udp");
}

#[test]
fn a_login_from_before_the_clock_was_set_back_is_not_trusted_for_longer() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![security(Kind::SuccessfulAuth { using_password: true }, "203.0.113.7")]);
    drop(owner);
    machine.clock.set(machine.clock.now() - 365 * DAY as i64 * 1000);
    let mut owner = machine.start();
    machine.pass(&mut owner, DAY);
    owner.turn(vec![attack("203.0.113.7")]);
    assert!(machine.holds("203.0.113.7"));
}

#[test]
fn who_was_freed_at_start_stays_free_when_he_leaves_the_white_list() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7"), attack("203.0.113.8")]);
    let (sender, inbox) = bounded(1);
    sender.send(Event::Shutdown).unwrap();
    owner.run(&inbox);
    machine.white_list("203.0.113.7\n");
    drop(machine.start());
    machine.white_list("");
    let _owner = machine.start();
    assert!(!machine.holds("203.0.113.7") && machine.holds("203.0.113.8"));
}

#[test]
fn what_the_kernel_did_not_free_at_start_is_tried_again() {
    let machine = Machine::new();
    drop({
        let mut owner = machine.start();
        owner.turn(vec![attack("203.0.113.7")]);
        owner
    });
    machine.white_list("203.0.113.7\n");
    machine.kernel.refuse(&["203.0.113.7/32"]);
    let mut owner = machine.start();
    assert!(machine.holds("203.0.113.7"));
    assert_eq!(owner.blocks().count(), 1);
    machine.kernel.refuse(&[]);
    machine.pass(&mut owner, 1);
    assert!(!machine.holds("203.0.113.7"));
    assert_eq!(owner.blocks().count(), 0);
}

#[test]
fn a_name_that_cannot_be_resolved_is_told_once_and_keeps_its_addresses() {
    let machine = Machine::new();
    machine.white_list("sip.example.com\n");
    let mut owner = machine.start();
    let mut resolve = |addresses: &[&str]| {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        owner.protection.resolved(vec![("sip.example.com".into(), addresses)])
    };
    assert_eq!(resolve(&[]), ["sip.example.com cannot be resolved: not protected"]);
    assert_eq!(resolve(&[]), [""; 0]);
    assert_eq!(resolve(&["192.0.2.7"]), ["sip.example.com is resolved now"]);
    assert_eq!(resolve(&[]), ["sip.example.com cannot be resolved: its last addresses stay protected"]);
    assert!(owner.protection.label(&"192.0.2.7/32".parse().unwrap()).is_some());
}

#[test]
fn a_block_made_right_after_the_clock_was_set_has_its_full_length() {
    let machine = Machine::new();
    let mut owner = machine.start();
    for (address, shown) in [("203.0.113.7", 365), ("203.0.113.8", -3)] {
        machine.clock.set_wall(shown * DAY as i64);
        owner.turn(vec![attack(address)]);
        let now = owner.clock.now().wall;
        machine.pass(&mut owner, 1);
        let net = IpNet::from(address.parse::<IpAddr>().unwrap());
        assert_eq!(owner.book.get(&net).unwrap().end, now + DAY);
    }
}

#[test]
fn what_the_kernel_does_not_take_stays_in_a_journal_written_anew() {
    let machine = Machine::new();
    let mut owner = machine.start();
    owner.turn(vec![attack("203.0.113.7")]);
    let (sender, inbox) = bounded(1);
    sender.send(Event::Shutdown).unwrap();
    owner.run(&inbox);
    machine.kernel.refuse(&["203.0.113.7/32"]);
    let owner = machine.start();
    fs::remove_file(machine.folder.path().join("bans")).unwrap();
    owner.run(&{
        let (sender, inbox) = bounded(1);
        sender.send(Event::Shutdown).unwrap();
        inbox
    });
    let mut owner = machine.start();
    let net = "203.0.113.7/32".parse().unwrap();
    assert!(owner.refused.get(&net).is_some());
    ask(&mut owner, Request::Unblock(net));
    drop(owner);
    machine.kernel.refuse(&[]);
    let _owner = machine.start();
    assert!(!machine.holds("203.0.113.7"));
}
