//! What others say, and what the owner makes of it.

use crossbeam_channel::Receiver;

use super::*;
use crate::fleet::entry::{Entry, Live};
use crate::fleet::place::Id;
use crate::fleet::sign::{Content, Sign};
use crate::fleet::votes::{Lacks, Memory};
use crate::fleet::{Fleet, Heard, Order};
use crate::model::member::ADMIN;
use crate::model::net::Plain;
use crate::owner::fleet::FleetParts;

/// An owner with a fleet, and what it does about it.
struct Joined {
    owner: Owner,
    machine: Machine,
    /// The firewall of the others' blocks.
    theirs: Kernel,
    orders: Receiver<Order>,
}

fn net(text: &str) -> IpNet {
    text.parse::<Plain>().unwrap().0
}

/// The one of that number of addresses that nobody knows.
fn nobody(n: u32) -> IpNet {
    IpNet::from(IpAddr::from((n + (11 << 24)).to_be_bytes()))
}

fn sign(name: &str, address: &str) -> Sign {
    let content = Content { version: "2".into(), addresses: vec![address.parse().unwrap()] };
    Sign { name: name.into(), content: Some(content) }
}

fn block(net: IpNet) -> Entry {
    Entry::Block { net, reason: Reason::Manual, seconds: 3_600 }
}

fn login(from: &str, account: &str) -> Event {
    account_event(Kind::SuccessfulAuth { using_password: true }, from, account)
}

fn account_event(kind: Kind, from: &str, account: &str) -> Event {
    let Event::Security(mut events) = security_on(5061, kind, from) else { unreachable!() };
    events.iter_mut().for_each(|event| event.account = account.as_bytes().into());
    Event::Security(events)
}

impl Joined {
    /// Begins with what an earlier process knew.
    fn with(memories: Vec<Memory>) -> Joined {
        let machine = Machine::new();
        let mut owner = machine.start();
        let (link, orders) = Fleet::apart();
        let theirs = Kernel::default();
        let firewall = theirs.clone();
        let parts = FleetParts {
            link,
            firewall: Box::new(|_, _| Ok(Box::new(firewall))),
            memories,
            memory: machine.folder.path().join("bans.fleet"),
        };
        let now = owner.clock.now();
        owner.join_fleet(parts, now).unwrap();
        orders.try_iter().for_each(drop);
        Joined { owner, machine, theirs, orders }
    }

    fn new() -> Joined {
        Joined::with(Vec::new())
    }

    fn hear(&mut self, heard: Heard) {
        self.owner.turn(vec![Event::Fleet(heard)]);
    }

    fn say(&mut self, origin: &str, entries: Vec<Entry>) {
        self.hear(Heard::Entries { origin: origin.into(), entries, read: Id::default() });
    }

    fn pass(&mut self, seconds: u64) {
        self.machine.pass(&mut self.owner, seconds);
    }

    /// Whether it is blocked because others say so.
    fn holds(&self, text: &str) -> bool {
        self.theirs.0.lock().unwrap().in_force().contains(&net(text))
    }

    fn in_force(&self) -> usize {
        self.theirs.0.lock().unwrap().in_force().len()
    }

    fn changes(&self) -> usize {
        self.theirs.1.lock().unwrap().changes
    }
}

#[test]
fn a_start_without_the_server_blocks_no_member() {
    let vote = |text| Memory::Vote("mad".into(), net(text), UnixTime(u64::MAX), Reason::Manual);
    let own = Memory::Addresses("pbx1".into(), vec!["198.51.100.1".parse().unwrap()]);
    let joined = Joined::with(vec![vote("198.51.100.1"), vote("198.51.100.9"), own]);
    assert!(joined.holds("198.51.100.9") && !joined.holds("198.51.100.1"));
}

#[test]
fn members_addresses_are_written_down_for_the_next_start() {
    let mut joined = Joined::new();
    joined.hear(Heard::Members(vec![sign("pbx1", "198.51.100.1")]));
    joined.pass(300);
    let written = joined.orders.try_iter().find_map(|order| match order {
        Order::Remember(text) => Some(String::from_utf8(text).unwrap()),
        _ => None,
    });
    assert!(written.unwrap().contains("addresses pbx1 198.51.100.1\n"));
}

#[test]
fn a_member_that_falls_silent_or_that_the_server_forgot_is_a_member_all_the_same() {
    let mut joined = Joined::new();
    joined.hear(Heard::Members(vec![sign("pbx1", "198.51.100.1"), sign("mad", "198.51.100.2")]));
    joined.hear(Heard::Members(vec![Sign { name: "pbx1".into(), content: None }, sign("mad", "198.51.100.2")]));
    joined.say("mad", vec![block(net("198.51.100.1")), block(net("198.51.100.9"))]);
    assert!(joined.holds("198.51.100.9") && !joined.holds("198.51.100.1"));
    joined.hear(Heard::Members(vec![sign("mad", "198.51.100.2")]));
    joined.say("mad", vec![block(net("198.51.100.1"))]);
    assert!(!joined.holds("198.51.100.1"));
    // Nor does any list block it.
    assert!(joined.owner.member_addresses().any(|address| address == net("198.51.100.1")));
}

#[test]
fn while_the_pbx_refuses_its_own_phones_the_admin_alone_is_heard() {
    let mut joined = Joined::new();
    let homes = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"];
    joined.owner.turn(homes.map(|home| login(home, &format!("of {home}"))));
    joined.pass(30);
    let refused = homes.map(|home| account_event(Kind::InvalidAccountId, home, &format!("of {home}")));
    joined.owner.turn(refused);
    joined.pass(6);
    assert!(joined.owner.evidence.refusing().is_some());
    // Its blocks look like the administrator's.
    joined.say("mad", vec![block(net("198.51.100.1"))]);
    joined.say(ADMIN, vec![block(net("198.51.100.2"))]);
    assert!(joined.holds("198.51.100.2") && !joined.holds("198.51.100.1"));
}

#[test]
fn who_logs_in_through_a_port_that_is_not_guarded_is_freed_of_what_others_say() {
    let mut joined = Joined::new();
    joined.owner.covered.reconfigure(crate::config::ScopeConfig::Match(vec!["-p".into(), "udp".into()]));
    joined.say("mad", vec![block(net("198.51.100.1"))]);
    joined.owner.turn(vec![security(Kind::ChallengeSent, "198.51.100.1")]);
    assert!(joined.holds("198.51.100.1"));
    joined.owner.turn(vec![login("198.51.100.1", "100")]);
    assert!(!joined.holds("198.51.100.1"));
}

#[test]
fn what_a_member_says_of_a_network_costs_the_same_however_much_others_say_within() {
    let cost = |within: u32| {
        let mut joined = Joined::new();
        let address = |n: u32| net(&format!("2001:db9::{n:x}"));
        (0..within).for_each(|n| joined.say(&format!("pbx{}", n % 9), vec![block(address(n))]));
        let around = |seconds| Entry::Block { net: net("2001:db9::/64"), reason: Reason::Manual, seconds };
        let clock = Clock::start();
        let mut measure = || {
            let before = clock.now().monotonic;
            joined.say("mad", (1..500).map(around).collect());
            clock.now().monotonic - before
        };
        (0..5).map(|_| measure()).min().unwrap()
    };
    let (little, much) = (cost(9), cost(9_000));
    assert!(much < 10 * little, "{little:?} and {much:?}");
}

#[test]
fn one_batch_brings_no_more_into_force_than_there_is_room_for_and_the_rest_in_its_turn() {
    let mut joined = Joined::new();
    let most = joined.owner.firewall.capacity();
    let live = |n| (Live { net: nobody(n), reason: Some(Reason::Manual) }, 3_600);
    let set = (0..250).map(live).collect();
    joined.hear(Heard::Set { origin: "pbx1".into(), set, lacks: Lacks::Unknown, read: Id::default() });
    assert_eq!(joined.in_force(), most);
    joined.say("pbx1", (0..60).map(|n| Entry::Unblock(nobody(n))).collect());
    joined.pass(1);
    assert_eq!(joined.in_force(), most - 60);
    joined.pass(10);
    assert_eq!(joined.in_force(), most);
}

#[test]
fn what_was_withdrawn_within_a_second_is_freed_at_once_and_not_one_by_one() {
    let mut joined = Joined::new();
    joined.say("mad", (0..50).map(|n| block(nobody(n))).collect());
    let before = joined.changes();
    (0..50).for_each(|n| joined.say("mad", vec![Entry::Unblock(nobody(n))]));
    joined.pass(1);
    assert_eq!((joined.in_force(), joined.changes()), (0, before + 1));
}

#[test]
fn an_unblock_writes_down_one_line_and_not_all_that_is_known() {
    let mut joined = Joined::new();
    joined.say("pbx1", (0..50).map(|n| block(nobody(n))).collect());
    for n in 0..50 {
        assert_eq!(ask(&mut joined.owner, Request::Unblock(nobody(n))), Reply::Unblocked(nobody(n)));
    }
    let orders: Vec<Order> = joined.orders.try_iter().collect();
    assert!(orders.iter().all(|order| matches!(order, Order::Note(Memory::Tombstone(..)))), "{orders:?}");
    assert_eq!(orders.len(), 50);
}

#[test]
fn the_file_is_written_anew_once_at_a_time_and_again_when_it_could_not_be() {
    let mut joined = Joined::new();
    let remembered = |joined: &mut Joined, n| {
        joined.say("pbx1", vec![block(nobody(n))]);
        joined.pass(300);
    };
    (0..3).for_each(|n| remembered(&mut joined, n));
    let texts = joined.orders.try_iter().filter(|order| matches!(order, Order::Remember(_))).count();
    assert_eq!(texts, 1);
}

#[test]
fn the_server_of_the_fleet_is_blocked_by_nobody() {
    let mut joined = Joined::new();
    joined.owner.config.fleet.url =
        Some(crate::config::ServerUrl { tls: false, host: "198.51.100.5".into(), port: 6379, database: 0 });
    joined.owner.turn(vec![Event::Reload]);
    joined.say("mad", vec![block(net("198.51.100.5")), block(net("198.51.100.6"))]);
    assert!(joined.holds("198.51.100.6") && !joined.holds("198.51.100.5"));
    joined.owner.turn(vec![attack("198.51.100.5"), attack("198.51.100.7")]);
    assert!(joined.machine.holds("198.51.100.7") && !joined.machine.holds("198.51.100.5"));
}

#[test]
fn a_reload_changes_our_rules_and_those_of_the_fleet_or_neither() {
    let mut joined = Joined::new();
    let path = |name: &str| -> String { Path::display(&joined.machine.folder.path().join(name)).to_string() };
    let text = format!(
        "[ami]\nuser = a\npass = b\n[iptables]\ninterface = eth7\nscope = \"\"\nwhite_list = {}\n\
         [log]\nfile = {}\nlevel = error\n",
        path("wl"),
        path("log")
    );
    fs::write(joined.owner.config_file.clone(), text).unwrap();
    let interface = |kernel: &Kernel| kernel.1.lock().unwrap().config.clone().and_then(|config| config.interface);
    joined.theirs.1.lock().unwrap().refuses = true;
    joined.owner.turn(vec![Event::Reload]);
    assert_eq!(interface(&joined.machine.kernel), joined.owner.config.firewall.interface);
    assert_eq!(joined.machine.kernel.1.lock().unwrap().scope, udp(&[(5060, 5061)]));
    joined.theirs.1.lock().unwrap().refuses = false;
    joined.owner.turn(vec![Event::Reload]);
    assert_eq!([&joined.machine.kernel, &joined.theirs].map(interface), [Some("eth7".into()), Some("eth7".into())]);
}
