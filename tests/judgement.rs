//! Whom the judge blocks, of honest phones and attackers of every kind at once, compared with a model that keeps all
//! it ever heard and counts it anew at every step, as the table "whom to block" says it.

#[path = "fuzz/asterisk.rs"]
mod asterisk;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use sipban::ami::frame::Framer;
use sipban::ami::security::Guard;
use sipban::config::{Config, Limits};
use sipban::judge::{Evidence, Policy, Verdict, judge, overdue};
use sipban::model::block::Reason;
use sipban::model::clock::{Now, UnixTime};
use sipban::model::security::{Acl, Endpoint, Kind, SecurityEvent, Service, Transport};

use asterisk::{SHORTEST_BEGINNING, SHORTEST_END, SIP_ROOM, WORDS, encoded_length, pjsip_user, sip_user, write_pong};

/// A block: who, and why.
type Block = (IpNet, Reason);

/// Milliseconds since the beginning of a test.
type Time = u64;

const SUCCESS: Kind = Kind::SuccessfulAuth { using_password: true };
const REGISTRAR: Kind = Kind::FailedAcl(Acl::Request);

/// A challenge is left unanswered when it is so old.
const GRACE: Duration = Duration::from_secs(4);

/// So many times the limit at once are too many at once.
const HUGE: usize = 20;

// ---- The model -----------------------------------------------------------------------------------------------------

/// The table, word by word. It forgets nothing but what a block settles.
struct Model {
    limits: Limits,
    protected: Vec<IpNet>,
    heard: Vec<Heard>,
    logins: Vec<(UnixTime, IpAddr)>,
}

struct Heard {
    at: Now,
    source: IpNet,
    event: SecurityEvent,
}

/// A row of the table.
#[derive(Clone, Copy, PartialEq)]
enum Row {
    UnknownAccount,
    WrongPassword,
    Acl,
    Ami,
}

/// All that speaks against one source at one moment.
#[derive(Default)]
struct Case {
    failures: Vec<(Now, Row, Box<[u8]>)>,
    /// Whether the last event is one of them.
    last_counts: bool,
    /// Challenges that nobody has answered.
    open: Vec<(Now, SecurityEvent)>,
    logged_in: Option<Now>,
    /// The request counted last, if PJSIP may tell of it again.
    told: Option<u64>,
}

impl Model {
    fn new(policy: &Policy, protected: &[IpNet]) -> Model {
        Model { limits: policy.limits.clone(), protected: protected.to_vec(), heard: vec![], logins: vec![] }
    }

    fn hear(&mut self, now: Now, event: &SecurityEvent) -> Option<Block> {
        let address = event.source();
        if self.protected.iter().any(|net| net.contains(&address)) {
            return None;
        }
        if event.kind == SUCCESS {
            self.logins.push((now.wall, address));
        }
        let source = self.source(address, now);
        self.heard.push(Heard { at: now, source, event: event.clone() });
        if event.kind == Kind::ChallengeSent {
            return self.flood(source, now);
        }
        let (row, reason) = accusation(event)?;
        let case = self.case(source);
        let count =
            case.failures.iter().filter(|(at, other, _)| *other == row && self.is_within_window(*at, now)).count();
        let limit = match row {
            Row::UnknownAccount => self.limits.unknown_account,
            Row::WrongPassword => self.limits.wrong_password,
            Row::Acl => self.limits.acl,
            Row::Ami => self.limits.ami,
        };
        (case.last_counts && count >= self.limit(limit, &address.into(), now)).then(|| self.block(source, reason))
    }

    /// Once a second: who has left too many challenges unanswered.
    fn tick(&mut self, now: Now) -> Vec<Block> {
        let lately = self.heard.iter().filter(|heard| {
            heard.event.kind == Kind::ChallengeSent && now.monotonic < heard.at.monotonic + self.patience()
        });
        let challenged: BTreeSet<IpNet> = lately.map(|heard| heard.source).collect();
        // A network in which somebody has logged in since is none that counts together any more.
        let sources = challenged.into_iter().filter(|net| self.source(net.addr(), now) == *net);
        sources.collect::<Vec<_>>().into_iter().filter_map(|source| self.flood(source, now)).collect()
    }

    fn flood(&mut self, source: IpNet, now: Now) -> Option<Block> {
        let case = self.case(source);
        let ages = case.open.iter().map(|(at, _)| now.monotonic - at.monotonic);
        let ages: Vec<Duration> = ages.filter(|age| *age < self.patience()).collect();
        let overdue = ages.iter().filter(|age| **age >= GRACE).count();
        let limit = self.limit(self.limits.flood_count, &source, now);
        (overdue > limit || ages.len() > HUGE * limit).then(|| self.block(source, Reason::ChallengeSent))
    }

    /// How long a challenge counts at all.
    fn patience(&self) -> Duration {
        Duration::from_secs(self.limits.flood_interval) + GRACE
    }

    fn block(&mut self, source: IpNet, reason: Reason) -> Block {
        self.heard.retain(|heard| heard.source != source);
        (source, reason)
    }

    /// An IPv6 address counts with its /64, unless somebody in there is protected or has logged in.
    fn source(&self, address: IpAddr, now: Now) -> IpNet {
        let IpAddr::V6(v6) = address else { return address.into() };
        let net = IpNet::new(address, self.limits.ipv6_prefix).unwrap().trunc();
        let is_shared = self.protected.iter().any(|other| net.contains(other)) || self.trusts(&net, now);
        if v6.is_unicast_link_local() || is_shared { address.into() } else { net }
    }

    fn trusts(&self, net: &IpNet, now: Now) -> bool {
        self.logins.iter().any(|(at, address)| net.contains(address) && now.wall.since(*at) < self.limits.trust_time)
    }

    fn limit(&self, strict: u32, net: &IpNet, now: Now) -> usize {
        (if self.trusts(net, now) { strict.max(self.limits.trusted) } else { strict }) as usize
    }

    fn is_within_window(&self, at: Now, now: Now) -> bool {
        now.monotonic < at.monotonic + Duration::from_secs(self.limits.window)
    }

    /// Goes through all that was heard of a source, from the beginning.
    fn case(&self, source: IpNet) -> Case {
        let mut case = Case::default();
        for Heard { at, event, .. } in self.heard.iter().filter(|heard| heard.source == source) {
            case.last_counts = false;
            let told_again = &*event.account == b"<unknown>" && case.told == Some(event.session);
            match (event.kind, accusation(event)) {
                (Kind::SuccessfulAuth { using_password }, _) => {
                    case.open.retain(|(sent, _)| at.monotonic < sent.monotonic + self.patience());
                    let answers = |sent: &SecurityEvent| sent.session == event.session || sent.account == event.account;
                    if case.open.iter().any(|(_, sent)| answers(sent)) {
                        case.open.retain(|(_, sent)| !answers(sent));
                    } else {
                        // chan_sip names an account in several ways, so whatever waited longest is answered.
                        case.open.drain(..case.open.len().min(1));
                    }
                    if using_password {
                        case.logged_in = Some(*at);
                        case.failures.retain(|(.., account)| *account != event.account);
                    }
                }
                (Kind::ChallengeSent, _) if told_again => case.told = None,
                (Kind::ChallengeSent, _) => case.open.push((*at, event.clone())),
                (kind, Some((row, _))) => {
                    if let Some(answered) = case.open.iter().position(|(_, sent)| sent.session == event.session) {
                        case.open.remove(answered);
                    }
                    let minute = Duration::from_secs(60);
                    let just_in = case.logged_in.is_some_and(|login| at.monotonic < login.monotonic + minute);
                    if told_again {
                        case.told = None;
                    } else if !(just_in && matches!(kind, REGISTRAR | Kind::RequestNotSupported)) {
                        let comes_again = matches!(kind, Kind::InvalidAccountId | Kind::FailedAcl(Acl::Access));
                        case.told = (comes_again && event.service == Service::Pjsip).then_some(event.session);
                        case.failures.push((*at, row, event.account.clone()));
                        case.last_counts = true;
                    }
                }
                _ => {}
            }
        }
        case
    }
}

fn accusation(event: &SecurityEvent) -> Option<(Row, Reason)> {
    let (row, reason) = match event.kind {
        Kind::InvalidAccountId => (Row::UnknownAccount, Reason::InvalidAccount),
        Kind::ChallengeResponseFailed if &*event.account == b"<unknown>" => {
            (Row::UnknownAccount, Reason::InvalidAccount)
        }
        Kind::Tampered => (Row::UnknownAccount, Reason::ProtocolMisuse),
        Kind::ChallengeResponseFailed => (Row::WrongPassword, Reason::ChallengeFailed),
        Kind::InvalidPassword => (Row::WrongPassword, Reason::InvalidPassword),
        Kind::FailedAcl(Acl::Access) => (Row::Acl, Reason::FailedAcl),
        REGISTRAR => (Row::WrongPassword, Reason::FailedAcl),
        Kind::RequestNotSupported
        | Kind::RequestNotAllowed
        | Kind::RequestBadFormat
        | Kind::SessionLimit
        | Kind::InvalidTransport
        | Kind::UnexpectedAddress
        | Kind::AuthMethodNotAllowed => (Row::WrongPassword, Reason::ProtocolMisuse),
        _ => return None,
    };
    Some(if event.service == Service::Ami { (Row::Ami, reason) } else { (row, reason) })
}

// ---- The daemon, as far as it judges -------------------------------------------------------------------------------

/// Judge and model side by side, of one mind at every step.
struct Court {
    evidence: Evidence,
    policy: Policy,
    model: Model,
    second: u64,
}

/// Where the PBX of these tests listens.
const OWN: [&str; 2] = ["198.18.0.1", "2001:db8:18::1"];

impl Court {
    fn new(limits: Limits) -> Court {
        let protected: Vec<IpNet> =
            ["192.0.2.0/29", "2001:db8:bb::7/128"].iter().map(|net| net.parse().unwrap()).collect();
        let policy = Policy { limits, protected: protected.iter().copied().collect(), knows_own_ipv6: true };
        let own = OWN.iter().map(|own| IpNet::from(own.parse::<IpAddr>().unwrap()));
        let model = Model::new(&policy, &protected.into_iter().chain(own).collect::<Vec<_>>());
        Court { evidence: Evidence::default(), policy, model, second: 0 }
    }

    /// Whom an event blocks, and whom the seconds before it did.
    fn hear(&mut self, time: Time, event: &SecurityEvent) -> Vec<Block> {
        let mut blocks = self.pass_until(time);
        let verdict = judge(&mut self.evidence, &self.policy, now(time), event);
        let block = block_of(&verdict);
        assert_eq!(block, self.model.hear(now(time), event), "at {time} ms: {event:?}");
        blocks.extend(block);
        blocks
    }

    /// Lets seconds tick away. After a while without an event nothing more can happen in one.
    fn pass_until(&mut self, time: Time) -> Vec<Block> {
        let mut blocks = Vec::new();
        let last = time / 1000;
        let quiet = self.second + 20;
        while self.second < last {
            self.second = if self.second >= quiet { last } else { self.second + 1 };
            let now = now(self.second * 1000);
            let mut late: Vec<Block> =
                overdue(&mut self.evidence, &self.policy, now).iter().filter_map(block_of).collect();
            late.sort_unstable();
            assert_eq!(late, self.model.tick(now), "at {} s", self.second);
            blocks.extend(late);
            if self.second % 30 == 0 || self.second == last {
                self.evidence.expire(&self.policy, now);
            }
        }
        blocks
    }
}

fn block_of(verdict: &Verdict) -> Option<Block> {
    match verdict {
        Verdict::Block { source, reason, .. } => Some((*source, *reason)),
        _ => None,
    }
}

/// All blocks that these events lead to, and when; who is blocked is heard no more.
fn sentences(events: &[(Time, SecurityEvent)]) -> Vec<(Time, Block)> {
    let mut court = Court::new(Config::default().limits);
    let mut sentences: Vec<(Time, Block)> = Vec::new();
    for (time, event) in events {
        let blocks = court.pass_until(*time);
        sentences.extend(blocks.into_iter().map(|block| (*time, block)));
        if !sentences.iter().any(|(_, (net, _))| net.contains(&event.source())) {
            let blocks = court.hear(*time, event);
            sentences.extend(blocks.into_iter().map(|block| (*time, block)));
        }
    }
    let end = events.last().map_or(0, |(time, _)| *time) + 30_000;
    sentences.extend(court.pass_until(end).into_iter().map(|block| (end, block)));
    sentences
}

fn now(time: Time) -> Now {
    Now {
        wall: UnixTime(1_700_000_000 + time / 1000),
        monotonic: Duration::from_secs(1000) + Duration::from_millis(time),
    }
}

// ---- The traffic ---------------------------------------------------------------------------------------------------

/// Somebody who sends requests.
#[derive(Clone, Debug)]
enum Actor {
    /// A phone that registers again and again.
    Phone {
        service: Service,
        every: Time,
        trip: Time,
        habit: Habit,
    },
    /// A phone with twenty busy-lamp keys boots.
    BusyLamps {
        trip: Time,
    },
    /// Twelve phones behind one address boot together.
    Office {
        trip: Time,
    },
    UnknownAccounts {
        every: Time,
        answers: bool,
    },
    PasswordGuesser {
        service: Service,
        every: Time,
    },
    /// Calls as an account that exists, without ever answering the challenge.
    CallFlood {
        every: Time,
    },
    Manager {
        kind: Kind,
    },
    Stranger,
    /// Writes lines into an account.
    Injector {
        user: Vec<u8>,
    },
}

/// What makes an honest phone look suspicious.
#[derive(Clone, Copy, Debug)]
enum Habit {
    None,
    /// Uses a nonce again without asking for a new one.
    CachedNonce,
    /// One or two wrong passwords, then the right one.
    Typos(usize),
    /// Is challenged a second time because its nonce is too old.
    StaleNonce,
    /// Is known by its digest user only, so that its first request is for nobody.
    Unidentified,
    /// Registers once more than it may, or for a number that is not there.
    Refused(Kind),
    /// Calls too; chan_sip names the account in three ways.
    Calls,
}

impl Actor {
    fn is_honest(&self) -> bool {
        matches!(self, Actor::Phone { .. } | Actor::BusyLamps { .. } | Actor::Office { .. })
    }

    /// Whether it does so much that it cannot get away with it.
    fn is_blocked(&self) -> bool {
        match self {
            Actor::PasswordGuesser { every, .. } => *every < 300_000,
            Actor::CallFlood { every } => *every < 1500,
            Actor::Injector { user } => tampers(user),
            other => !other.is_honest(),
        }
    }

    /// All it ever does, in order, from its address.
    fn events(&self, number: u16, from: IpAddr, start: Time) -> Vec<(Time, SecurityEvent)> {
        let mut scene = Scene { number, from, events: vec![], session: u64::from(number) * 1_000_000 };
        match self {
            Actor::Phone { service, every, trip, habit } => {
                for turn in 0..20 {
                    scene.register(*service, start + turn * every, *trip, *habit, turn == 0, "1000");
                }
            }
            Actor::BusyLamps { trip } => {
                scene.register(Service::Pjsip, start, *trip, Habit::None, true, "1000");
                for key in 0..20 {
                    scene.register(Service::Pjsip, start + trip + key * 10, *trip, Habit::None, false, "1000");
                }
            }
            Actor::Office { trip } => {
                for phone in 0..12 {
                    let account = format!("1{phone:03}");
                    scene.register(Service::Pjsip, start + phone * 3, *trip, Habit::None, true, &account);
                }
            }
            Actor::UnknownAccounts { every, answers } => {
                let second = if *answers { Kind::ChallengeResponseFailed } else { Kind::ChallengeSent };
                for turn in 0..10 {
                    let session = scene.next_session();
                    scene.add(start + turn * every, Service::Pjsip, Kind::InvalidAccountId, "9999", session);
                    scene.add(start + turn * every, Service::Pjsip, second, "<unknown>", session);
                }
            }
            Actor::PasswordGuesser { service, every } => {
                let kind = if *service == Service::Sip { Kind::InvalidPassword } else { Kind::ChallengeResponseFailed };
                for turn in 0..10 {
                    let session = scene.next_session();
                    scene.add(start + turn * every, *service, Kind::ChallengeSent, "1000", session);
                    scene.add(start + turn * every + 20, *service, kind, "1000", session);
                }
            }
            Actor::CallFlood { every } => {
                for turn in 0..60 {
                    let session = scene.next_session();
                    scene.add(start + turn * every, Service::Pjsip, Kind::ChallengeSent, "1000", session);
                }
            }
            Actor::Manager { kind } => scene.add(start, Service::Ami, *kind, "admin", 0),
            Actor::Stranger => scene.add(start, Service::Sip, Kind::FailedAcl(Acl::Access), "1000", 0),
            Actor::Injector { user } => {
                let kind = if tampers(user) { Kind::Tampered } else { Kind::ChallengeSent };
                scene.add(start, Service::Sip, kind, &String::from_utf8_lossy(user), 0);
            }
        }
        scene.events.sort_by_key(|(time, _)| *time);
        scene.events
    }
}

fn tampers(user: &[u8]) -> bool {
    user.windows(2).any(|pair| pair == b"\r\n")
}

struct Scene {
    number: u16,
    from: IpAddr,
    session: u64,
    events: Vec<(Time, SecurityEvent)>,
}

impl Scene {
    fn next_session(&mut self) -> u64 {
        self.session += 1;
        self.session
    }

    fn register(&mut self, service: Service, time: Time, trip: Time, habit: Habit, first: bool, account: &str) {
        let session = self.next_session();
        let challenged = if matches!(habit, Habit::Unidentified) { "<unknown>" } else { account };
        if first || !matches!(habit, Habit::CachedNonce) {
            self.add(time, service, Kind::ChallengeSent, challenged, session);
        }
        let mut time = time + trip;
        match habit {
            Habit::Typos(typos) if first => {
                for _ in 0..typos {
                    self.add(time, service, Kind::ChallengeResponseFailed, account, session);
                    time += 20_000;
                }
            }
            Habit::StaleNonce => {
                self.add(time, service, Kind::ChallengeSent, account, session);
                time += trip;
            }
            _ => {}
        }
        self.add(time, service, SUCCESS, account, session);
        match habit {
            Habit::Refused(kind) => self.add(time, service, kind, account, session),
            Habit::Calls => {
                let session = self.next_session();
                let from = if service == Service::Sip { "sip:1000@198.18.0.1" } else { account };
                let to = if service == Service::Sip { "600" } else { account };
                self.add(time + 700, service, Kind::ChallengeSent, from, session);
                self.add(time + 700 + trip, service, SUCCESS, to, session);
            }
            _ => {}
        }
    }

    fn add(&mut self, time: Time, service: Service, kind: Kind, account: &str, session: u64) {
        let session = if session == 0 { u64::from(self.number) } else { session };
        // One silence of the stream is longer than this.
        let time = time / 100 * 100;
        self.events.push((time, event(self.from, service, kind, account.as_bytes(), session)));
    }
}

fn event(from: IpAddr, service: Service, kind: Kind, account: &[u8], session: u64) -> SecurityEvent {
    let transport = if service == Service::Ami { Transport::Tcp } else { Transport::Udp };
    let endpoint = |address| Endpoint { address, transport, port: 5060 };
    let own = OWN[usize::from(from.is_ipv6())].parse().unwrap();
    SecurityEvent {
        kind,
        service,
        account: account.into(),
        session,
        local: endpoint(own),
        remote: endpoint(from),
        time: None,
    }
}

/// An address, or for IPv6 a network, for each actor.
fn address(number: u16) -> IpAddr {
    if number % 4 == 3 {
        IpAddr::from([0x2001, 0xdb8, 0x100, number, 0, 0, 0, 5])
    } else {
        IpAddr::from([203, 0, 113, number as u8])
    }
}

fn actor() -> impl Strategy<Value = Actor> {
    let service = || select(vec![Service::Pjsip, Service::Sip]);
    let trip = || 1u64..3000;
    let habit = prop_oneof![
        Just(Habit::None),
        Just(Habit::CachedNonce),
        (1usize..3).prop_map(Habit::Typos),
        Just(Habit::StaleNonce),
        Just(Habit::Unidentified),
        Just(Habit::Refused(REGISTRAR)),
        Just(Habit::Refused(Kind::RequestNotSupported)),
        Just(Habit::Calls),
    ];
    let ami =
        vec![Kind::InvalidPassword, Kind::InvalidAccountId, Kind::RequestNotAllowed, Kind::ChallengeResponseFailed];
    prop_oneof![
        6 => (service(), 10_000u64..400_000, trip(), habit)
            .prop_map(|(service, every, trip, habit)| Actor::Phone { service, every, trip, habit }),
        1 => trip().prop_map(|trip| Actor::BusyLamps { trip }),
        1 => trip().prop_map(|trip| Actor::Office { trip }),
        1 => (10u64..10_000, any::<bool>()).prop_map(|(every, answers)| Actor::UnknownAccounts { every, answers }),
        2 => (service(), prop_oneof![10u64..299_000, 301_000u64..400_000])
            .prop_map(|(service, every)| Actor::PasswordGuesser { service, every }),
        2 => prop_oneof![10u64..1500, 2100u64..5000].prop_map(|every| Actor::CallFlood { every }),
        1 => select(ami).prop_map(|kind| Actor::Manager { kind }),
        1 => Just(Actor::Stranger),
        2 => user().prop_map(|user| Actor::Injector { user: sip_user(&user) }),
    ]
}

/// Words at random, and the pieces of a forgery where they belong.
fn user() -> impl Strategy<Value = Vec<u8>> {
    let words = || vec(select(WORDS.to_vec()), 0..6).prop_map(|words| words.concat());
    let perhaps = |piece: &'static str| select(vec!["", piece]);
    let end = vec![
        "",
        "",
        SHORTEST_END,
        "\r\nSessionID: \r\nLocalAddress: \r\nRemoteAddress: \r\n\r\n",
        "\r\nRemoteAddress: (null)\r\n\r\n",
    ];
    (words(), perhaps("\r\n\r\n"), select(end), perhaps(SHORTEST_BEGINNING), perhaps("x"), words(), any::<bool>())
        .prop_map(|(before, cut, end, beginning, account, after, neat)| {
            let forged = [cut, end, beginning, account].concat();
            if neat { forged } else { [before, forged, after].concat() }.into_bytes()
        })
}

/// Actors, each with the moment it begins.
fn company() -> impl Strategy<Value = Vec<(Actor, Time)>> {
    vec((actor(), 0u64..900_000), 1..14)
}

fn traffic(company: &[(Actor, Time)]) -> Vec<Vec<(Time, SecurityEvent)>> {
    (1u16..).zip(company).map(|(number, (actor, start))| actor.events(number, address(number), *start)).collect()
}

fn merged(traffic: &[Vec<(Time, SecurityEvent)>]) -> Vec<(Time, SecurityEvent)> {
    let mut all = traffic.concat();
    all.sort_by_key(|(time, _)| *time);
    all
}

// ---- The stream ----------------------------------------------------------------------------------------------------

/// What Asterisk sends of one event.
fn written(out: &mut Vec<u8>, time: Time, event: &SecurityEvent) {
    let name = match event.kind {
        Kind::ChallengeSent => "ChallengeSent",
        Kind::SuccessfulAuth { .. } => "SuccessfulAuth",
        Kind::InvalidAccountId => "InvalidAccountID",
        Kind::ChallengeResponseFailed => "ChallengeResponseFailed",
        Kind::InvalidPassword => "InvalidPassword",
        Kind::FailedAcl(_) => "FailedACL",
        Kind::RequestNotSupported => "RequestNotSupported",
        Kind::RequestNotAllowed => "RequestNotAllowed",
        Kind::Tampered => "InvalidPassword",
        other => panic!("{other:?} is not in this traffic"),
    };
    let service = match event.service {
        Service::Pjsip => "PJSIP",
        Service::Sip => "SIP",
        _ => "AMI",
    };
    let mut more = asterisk::more(name, service, b"");
    if event.kind == REGISTRAR {
        more.push(("ACLName", b"registrar_attempt_exceeds_maximum_configured_contacts".to_vec()));
    }
    let transport = if service == "AMI" { "TCP" } else { "UDP" };
    let session = format!("call-{}@lab", event.session).into_bytes();
    let (account, remote) = (event.account.to_vec(), event.source());
    asterisk::Event { name, service, time: time as u32, account, session, remote, transport, more }.write(out);
}

/// The events that a reader finds in the stream, each at the time at which it was written: between two times the
/// stream falls silent.
fn read(events: &[(Time, SecurityEvent)], reads: &[usize]) -> Vec<(Time, SecurityEvent)> {
    let (mut framer, mut guard) = (Framer::default(), Guard::default());
    let mut reads = reads.iter().cycle();
    let mut found = Vec::new();
    for burst in events.chunk_by(|one, next| one.0 == next.0) {
        let time = burst[0].0;
        let mut stream = Vec::new();
        for (_, event) in burst {
            written(&mut stream, time, event);
            write_pong(&mut stream);
        }
        let mut told = Vec::new();
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(reads.next().map_or(rest.len(), |read| *read.min(&rest.len())));
            framer.push(piece);
            rest = after;
            while let Some(frame) = framer.next_frame() {
                guard.frame(&frame, &mut told);
            }
        }
        assert!(framer.is_between_frames());
        guard.silence(&mut told);
        found.extend(told.into_iter().map(|event| (time, event)));
    }
    found
}

// ---- The properties ------------------------------------------------------------------------------------------------

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn honest_phones_are_never_blocked_and_attackers_at_the_event_that_the_model_says(company in company()) {
        let sentences = sentences(&merged(&traffic(&company)));
        for (number, (actor, _)) in (1u16..).zip(&company) {
            let blocked = sentences.iter().any(|(_, (net, _))| net.contains(&address(number)));
            prop_assert_eq!(blocked, actor.is_blocked(), "{:?}", actor);
        }
    }

    #[test]
    fn who_else_is_there_makes_no_difference(company in company()) {
        let traffic = traffic(&company);
        let mut together: Vec<Block> = sentences(&merged(&traffic)).into_iter().map(|(_, block)| block).collect();
        let mut alone: Vec<Block> =
            traffic.iter().flat_map(|events| sentences(events)).map(|(_, block)| block).collect();
        together.sort_unstable();
        alone.sort_unstable();
        prop_assert_eq!(together, alone);
    }

    #[test]
    fn the_order_of_simultaneous_events_of_different_sources_makes_no_difference(
        company in company(), order in vec(any::<Index>(), 14),
    ) {
        let traffic = traffic(&company);
        let mut shuffled = traffic.clone();
        for (place, other) in (0..shuffled.len()).zip(&order) {
            shuffled.swap(place, other.index(traffic.len()));
        }
        let set = |traffic: &[Vec<(Time, SecurityEvent)>]| -> BTreeSet<Block> {
            sentences(&merged(traffic)).into_iter().map(|(_, block)| block).collect()
        };
        prop_assert_eq!(set(&traffic), set(&shuffled));
    }

    #[test]
    fn a_stream_leads_to_the_same_blocks_as_what_was_written_into_it(
        company in company(), reads in vec(1usize..400, 1..40),
    ) {
        let events = merged(&traffic(&company));
        let found = read(&events, &reads);
        let senders = |events: &[(Time, SecurityEvent)]| -> Vec<(Time, IpAddr, Kind)> {
            events.iter().map(|(time, event)| (*time, event.source(), event.kind)).collect()
        };
        prop_assert_eq!(senders(&found), senders(&events));
        prop_assert_eq!(sentences(&found), sentences(&events));
    }

    /// Where honest traffic would never come to: few sources, accounts and sessions, and anything may follow anything.
    #[test]
    fn judge_and_model_agree_on_any_events_whatever(limits in limits(), events in any_events()) {
        let mut court = Court::new(limits);
        let mut time = 0;
        for (pause, mut event) in events {
            time += pause;
            // No session lasts for ever.
            event.session += time / 10_000 * 1000;
            court.hear(time, &event);
        }
        court.pass_until(time + 30_000);
    }

    #[test]
    fn an_injector_is_accused_and_nobody_that_he_made_up(
        users in vec((user(), any::<bool>()), 1..20), reads in vec(1usize..400, 1..40),
    ) {
        let from = |number: usize| IpAddr::from([203, 0, 113, number as u8]);
        let events: Vec<(Time, SecurityEvent)> = users.iter().enumerate().map(|(number, (user, pjsip))| {
            let (service, user) =
                if *pjsip { (Service::Pjsip, pjsip_user(user)) } else { (Service::Sip, sip_user(user)) };
            (0, event(from(number), service, Kind::InvalidAccountId, &user, number as u64))
        }).collect();
        let accused: Vec<(IpAddr, bool)> =
            read(&events, &reads).iter().map(|(_, event)| (event.source(), event.kind == Kind::Tampered)).collect();
        let writers: Vec<(IpAddr, bool)> =
            events.iter().map(|(_, event)| (event.source(), tampers(&event.account))).collect();
        prop_assert_eq!(accused, writers);
    }
}

/// Limits that are soon reached.
fn limits() -> impl Strategy<Value = Limits> {
    (1u32..4, 1u32..30, 1u32..3, 1u32..3, 2u32..6, 1u32..6, 20u64..700, 10u64..9000).prop_map(
        |(unknown_account, wrong_password, acl, ami, trusted, flood_count, window, trust_time)| {
            let (flood_interval, ipv6_prefix) = (window % 13 + 1, 64);
            Limits {
                window,
                unknown_account,
                wrong_password,
                acl,
                ami,
                trusted,
                trust_time,
                ipv6_prefix,
                flood_count,
                flood_interval,
            }
        },
    )
}

/// Events of a few kinds, sources, accounts and sessions, other ones each time, and each with the pause before it.
fn any_events() -> impl Strategy<Value = Vec<(Time, SecurityEvent)>> {
    let kinds = vec![
        Kind::ChallengeSent,
        SUCCESS,
        Kind::SuccessfulAuth { using_password: false },
        Kind::InvalidAccountId,
        Kind::ChallengeResponseFailed,
        Kind::InvalidPassword,
        Kind::FailedAcl(Acl::Access),
        REGISTRAR,
        Kind::RequestNotSupported,
        Kind::InvalidTransport,
        Kind::MemoryLimit,
        Kind::Tampered,
        Kind::Other,
    ];
    let sources = vec![
        "203.0.113.1",
        "203.0.113.2",
        "192.0.2.3",
        "198.18.0.1",
        "2001:db8:aa::1",
        "2001:db8:aa::2",
        "2001:db8:bb::1",
        "fe80::1",
    ];
    // Half of the time it is about challenges and their answers.
    let unanswered = vec(Just(Kind::ChallengeSent), 1..8);
    let kinds = (subsequence(kinds, 1..6), prop_oneof![Just(vec![]), unanswered])
        .prop_map(|(kinds, unanswered)| [kinds, unanswered].concat());
    let sources = subsequence(sources, 1..4);
    let pauses = select(vec![1u64, 300, 1500, 5000, 60_000, 700_000]);
    let (accounts, sessions) = (select(vec![1usize, 2, 3, 40]), select(vec![1u64, 3, 1000]));
    (kinds, sources, pauses, accounts, sessions).prop_flat_map(|(kinds, sources, longest, accounts, sessions)| {
        let numbers = (1000..1040).map(|number| number.to_string());
        let account = select(std::iter::once("<unknown>".to_owned()).chain(numbers).take(accounts).collect::<Vec<_>>());
        let service = prop_oneof![9 => Just(Service::Pjsip), 6 => Just(Service::Sip), 1 => Just(Service::Ami)];
        let pause = prop_oneof![Just(0), 0..longest];
        let event = (pause, select(sources), service, select(kinds), account, 0..sessions).prop_map(
            |(pause, from, service, kind, account, session)| {
                // The manager interface has no registrar.
                let registers = matches!(kind, REGISTRAR | Kind::RequestNotSupported);
                let service = if registers { Service::Pjsip } else { service };
                (pause, event(from.parse().unwrap(), service, kind, account.as_bytes(), session))
            },
        );
        vec(event, 1..250)
    })
}

#[test]
fn a_user_name_has_no_room_for_a_forged_end_and_a_forged_beginning() {
    let (end, beginning) = (encoded_length(SHORTEST_END.as_bytes()), encoded_length(SHORTEST_BEGINNING.as_bytes()));
    assert!(end <= SIP_ROOM && beginning <= SIP_ROOM);
    assert!(end + beginning > SIP_ROOM + 20);
}
