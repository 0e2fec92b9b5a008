//! Honest phones and attackers of every kind, each with addresses and accounts of its own.

use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use sipban::model::security::{Acl, Endpoint, Kind, SecurityEvent, Service, Transport};

use super::asterisk::{SHORTEST_BEGINNING, SHORTEST_END, WORDS, sip_user};
use super::court::{DAY, HOUR, MINUTE, OWN, SECOND, Time};
use super::model::{LOGIN, REGISTRAR};

/// Somebody who sends requests.
#[derive(Clone, Debug)]
pub enum Actor {
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
    /// An office with a phone that fails.
    BrokenPhone {
        fault: Fault,
        every: Time,
    },
    /// An office whose line has another address every few hours, with a phone of an old password.
    Moving {
        every: Time,
    },
    UnknownAccounts {
        every: Time,
        answers: bool,
    },
    PasswordGuesser {
        service: Service,
        every: Time,
        lives_elsewhere: bool,
    },
    /// Calls as an account that exists, without ever answering the challenge.
    CallFlood {
        every: Time,
    },
    /// Many addresses that each guess twice at one account.
    Botnet {
        size: u16,
        every: Time,
    },
    /// Addresses of one network that each guess twice, at an account of their own.
    RentedNetwork {
        size: u16,
        every: Time,
        is_ipv6: bool,
    },
    /// Has an account, and guesses at that of somebody else.
    Thief {
        every: Time,
    },
    /// Has an account, and looks for others.
    Searcher {
        every: Time,
    },
    /// Guesses at the password of its own account.
    Hammerer {
        every: Time,
    },
    /// Comes back whenever its block has ended.
    Regular {
        pause: Time,
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
pub enum Habit {
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

/// What is wrong with a phone.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    OldPassword,
    Deleted,
    /// Was set up with an account that never was.
    WrongName,
    /// Its address is no longer permitted.
    Forbidden,
}

impl Actor {
    pub fn is_honest(&self) -> bool {
        matches!(
            self,
            Actor::Phone { .. }
                | Actor::BusyLamps { .. }
                | Actor::Office { .. }
                | Actor::BrokenPhone { .. }
                | Actor::Moving { .. }
        )
    }

    /// How many of its addresses are blocked, if it does so much that it cannot get away with it.
    pub fn blocked(&self) -> usize {
        let is_blocked = match self {
            // Six guesses in a day.
            Actor::PasswordGuesser { every, .. } => 5 * every < DAY,
            Actor::CallFlood { every } => *every < 1500,
            Actor::Injector { user } => tampers(user),
            // One for each limit that is exceeded, and all that come after.
            Actor::Botnet { size, .. } | Actor::RentedNetwork { size, .. } => {
                return usize::from(size.saturating_sub(5));
            }
            other => !other.is_honest(),
        };
        usize::from(is_blocked)
    }

    /// All it ever does, in order.
    pub fn events(&self, number: u16, start: Time) -> Vec<(Time, SecurityEvent)> {
        let mut scene = Scene { number, from: address(number), events: vec![], session: u64::from(number) * 1_000_000 };
        match self {
            Actor::Phone { service, every, trip, habit } => {
                for turn in 0..20 {
                    scene.register(*service, start + turn * every, *trip, *habit, turn == 0, 0);
                }
            }
            Actor::BusyLamps { trip } => {
                scene.register(Service::Pjsip, start, *trip, Habit::None, true, 0);
                for key in 0..20 {
                    scene.register(Service::Pjsip, start + trip + key * 10, *trip, Habit::None, false, 0);
                }
            }
            Actor::Office { trip } => scene.boot(start, *trip, 12),
            Actor::BrokenPhone { fault, every } => {
                scene.boot(start, 50, 3);
                for turn in 0..60 {
                    scene.fail(start + MINUTE + turn * every, *fault);
                }
            }
            Actor::Moving { every } => {
                scene.boot(start, 50, 4);
                for turn in 0..70 {
                    if turn % 24 == 23 {
                        scene.from = nearby(number, turn as u16);
                        (1..4).for_each(|phone| {
                            scene.register(Service::Pjsip, start + turn * every, 50, Habit::None, true, phone);
                        });
                    }
                    scene.fail(start + turn * every + 3 * SECOND, Fault::OldPassword);
                }
            }
            Actor::UnknownAccounts { every, answers } => {
                for turn in 0..10 {
                    scene.look(start + turn * every, "9999", *answers);
                }
            }
            Actor::PasswordGuesser { service, every, lives_elsewhere } => {
                if *lives_elsewhere {
                    scene.live_elsewhere(start);
                }
                for turn in 0..10 {
                    scene.guess(*service, start + MINUTE + turn * every, &scene.target(0));
                }
            }
            Actor::CallFlood { every } => {
                for turn in 0..60 {
                    let session = scene.next_session();
                    scene.add(start + turn * every, Service::Pjsip, Kind::ChallengeSent, &scene.target(0), session);
                }
            }
            Actor::Botnet { size, every } => {
                for bot in 0..*size {
                    scene.from = nearby(number, bot);
                    for turn in 0..2 {
                        scene.guess(Service::Pjsip, start + (u64::from(bot) * 2 + turn) * every, &scene.target(0));
                    }
                }
            }
            Actor::RentedNetwork { size, every, is_ipv6 } => {
                for host in 0..*size {
                    scene.from = neighbour(number, host, *is_ipv6);
                    for turn in 0..2 {
                        let time = start + (u64::from(host) * 2 + turn) * every;
                        scene.guess(Service::Pjsip, time, &scene.target(host.into()));
                    }
                }
            }
            Actor::Thief { every } => {
                scene.live_elsewhere(start);
                scene.boot(start, 50, 1);
                for turn in 0..25 {
                    scene.guess(Service::Pjsip, start + MINUTE + turn * every, &scene.target(0));
                }
            }
            Actor::Searcher { every } => {
                scene.boot(start, 50, 1);
                for turn in 0..15 {
                    scene.guess(Service::Pjsip, start + MINUTE + turn * every, &scene.target(turn));
                }
            }
            Actor::Hammerer { every } => {
                scene.boot(start, 50, 1);
                for turn in 0..150 {
                    scene.guess(Service::Pjsip, start + MINUTE + turn * every, &scene.account(0));
                }
            }
            Actor::Regular { pause } => {
                scene.look(start, "9999", true);
                scene.guess(Service::Pjsip, start + DAY + pause, &scene.target(0));
                scene.guess(Service::Pjsip, start + 5 * DAY + 2 * pause, &scene.target(0));
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

pub fn tampers(user: &[u8]) -> bool {
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

    /// The name of one of the accounts that live here.
    fn account(&self, phone: u64) -> String {
        format!("{}{phone:02}", self.number)
    }

    /// The name of one of the accounts that this actor guesses at, and nobody else.
    fn target(&self, n: u64) -> String {
        format!("{}x{n}", self.number)
    }

    /// Phones register for the first time, all at once.
    fn boot(&mut self, time: Time, trip: Time, phones: u64) {
        for phone in 0..phones {
            self.register(Service::Pjsip, time + phone * 3, trip, Habit::None, true, phone);
        }
    }

    fn register(&mut self, service: Service, time: Time, trip: Time, habit: Habit, first: bool, phone: u64) {
        let account = self.account(phone);
        let session = self.next_session();
        let challenged = if matches!(habit, Habit::Unidentified) { "<unknown>" } else { &account };
        if first || !matches!(habit, Habit::CachedNonce) {
            self.add(time, service, Kind::ChallengeSent, challenged, session);
        }
        let mut time = time + trip;
        match habit {
            Habit::Typos(typos) if first => {
                for _ in 0..typos {
                    self.add(time, service, Kind::ChallengeResponseFailed, &account, session);
                    time += 20 * SECOND;
                }
            }
            Habit::StaleNonce => {
                self.add(time, service, Kind::ChallengeSent, &account, session);
                time += trip;
            }
            _ => {}
        }
        self.add(time, service, LOGIN, &account, session);
        match habit {
            Habit::Refused(kind) => self.add(time, service, kind, &account, session),
            Habit::Calls => {
                let session = self.next_session();
                let uri = format!("sip:{account}@198.18.0.1");
                let (from, to) = if service == Service::Sip { (&*uri, "600") } else { (&*account, &*account) };
                self.add(time + 700, service, Kind::ChallengeSent, from, session);
                self.add(time + 700 + trip, service, LOGIN, to, session);
            }
            _ => {}
        }
    }

    /// The first target of this actor lives somewhere else.
    fn live_elsewhere(&mut self, time: Time) {
        let here = std::mem::replace(&mut self.from, nearby(self.number, 900));
        let session = self.next_session();
        self.add(time, Service::Pjsip, LOGIN, &self.target(0), session);
        self.from = here;
    }

    fn fail(&mut self, time: Time, fault: Fault) {
        let own = self.account(0);
        match fault {
            Fault::OldPassword => self.guess(Service::Pjsip, time, &own),
            Fault::Deleted => self.look(time, &own, true),
            Fault::WrongName => self.look(time, "10l0", true),
            Fault::Forbidden => {
                let session = self.next_session();
                self.add(time, Service::Pjsip, Kind::FailedAcl(Acl::Access), &own, session);
                self.add(time, Service::Pjsip, Kind::ChallengeSent, "<unknown>", session);
            }
        }
    }

    fn guess(&mut self, service: Service, time: Time, account: &str) {
        let kind = if service == Service::Sip { Kind::InvalidPassword } else { Kind::ChallengeResponseFailed };
        let session = self.next_session();
        self.add(time, service, Kind::ChallengeSent, account, session);
        self.add(time + 100, service, kind, account, session);
    }

    /// Asks for an account that does not exist, and answers the challenge, or does not.
    fn look(&mut self, time: Time, account: &str, answers: bool) {
        let session = self.next_session();
        self.add(time, Service::Pjsip, Kind::InvalidAccountId, account, session);
        self.add(time, Service::Pjsip, Kind::ChallengeSent, "<unknown>", session);
        if answers {
            self.add(time + 100, Service::Pjsip, Kind::InvalidAccountId, account, session);
            self.add(time + 100, Service::Pjsip, Kind::ChallengeResponseFailed, "<unknown>", session);
        }
    }

    fn add(&mut self, time: Time, service: Service, kind: Kind, account: &str, session: u64) {
        let session = if session == 0 { u64::from(self.number) } else { session };
        // One silence of the stream is longer than this.
        let time = time / 100 * 100;
        self.events.push((time, event(self.from, service, kind, account.as_bytes(), session)));
    }
}

pub fn event(from: IpAddr, service: Service, kind: Kind, account: &[u8], session: u64) -> SecurityEvent {
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
        country: None,
    }
}

/// The address of an actor, in a neighbourhood of its own.
pub fn address(number: u16) -> IpAddr {
    nearby(number, 1000)
}

/// Another address of an actor, in another neighbourhood.
fn nearby(number: u16, n: u16) -> IpAddr {
    if number % 4 == 3 {
        IpAddr::from([0x2001, 0xd000 + n, number, 0, 0, 0, 0, 5])
    } else {
        let [high, low] = n.to_be_bytes();
        IpAddr::from([11 + high, number as u8, low, 7])
    }
}

/// An address of the network that an actor has rented: a /24, or a /48.
fn neighbour(number: u16, host: u16, is_ipv6: bool) -> IpAddr {
    if is_ipv6 {
        IpAddr::from([0x2001, 0xdb8, 0x2000 + number, host, 0, 0, 0, 5])
    } else {
        IpAddr::from([30, number as u8, 0, host as u8])
    }
}

/// The actor that has this address.
pub fn number(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(v4) => v4.octets()[1].into(),
        IpAddr::V6(v6) => v6.segments()[2] % 0x1000,
    }
}

fn actor() -> impl Strategy<Value = Actor> {
    let service = || select(vec![Service::Pjsip, Service::Sip]);
    let trip = || 1..3 * SECOND;
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
    let fault = select(vec![Fault::OldPassword, Fault::Deleted, Fault::WrongName, Fault::Forbidden]);
    let ami =
        vec![Kind::InvalidPassword, Kind::InvalidAccountId, Kind::RequestNotAllowed, Kind::ChallengeResponseFailed];
    // The hasty, the slow, the patient, and those who are so patient that it is no use.
    let pace =
        prop_oneof![100..299 * SECOND, 301 * SECOND..HOUR, HOUR..17_000 * SECOND, 17_400 * SECOND..20_000 * SECOND];
    prop_oneof![
        6 => (service(), 10 * SECOND..400 * SECOND, trip(), habit)
            .prop_map(|(service, every, trip, habit)| Actor::Phone { service, every, trip, habit }),
        1 => trip().prop_map(|trip| Actor::BusyLamps { trip }),
        1 => trip().prop_map(|trip| Actor::Office { trip }),
        4 => (fault, 2100..120 * SECOND).prop_map(|(fault, every)| Actor::BrokenPhone { fault, every }),
        1 => (10 * SECOND..20 * MINUTE).prop_map(|every| Actor::Moving { every }),
        1 => (100..10 * SECOND, any::<bool>()).prop_map(|(every, answers)| Actor::UnknownAccounts { every, answers }),
        2 => (service(), pace, any::<bool>()).prop_map(|(service, every, lives_elsewhere)| Actor::PasswordGuesser {
            service, every, lives_elsewhere,
        }),
        2 => prop_oneof![100..1500u64, 2100..5000u64].prop_map(|every| Actor::CallFlood { every }),
        1 => (3u16..12, SECOND..HOUR).prop_map(|(size, every)| Actor::Botnet { size, every }),
        1 => (3u16..12, SECOND..HOUR, any::<bool>()).prop_map(|(size, every, is_ipv6)| Actor::RentedNetwork {
            size, every, is_ipv6,
        }),
        1 => (SECOND..HOUR).prop_map(|every| Actor::Thief { every }),
        1 => (SECOND..HOUR).prop_map(|every| Actor::Searcher { every }),
        1 => (100..1900u64).prop_map(|every| Actor::Hammerer { every }),
        1 => (SECOND..2 * DAY).prop_map(|pause| Actor::Regular { pause }),
        1 => select(ami).prop_map(|kind| Actor::Manager { kind }),
        1 => Just(Actor::Stranger),
        2 => user().prop_map(|user| Actor::Injector { user: sip_user(&user) }),
    ]
}

/// Words at random, and the pieces of a forgery where they belong.
pub fn user() -> impl Strategy<Value = Vec<u8>> {
    let words = || vec(select(WORDS.to_vec()), 0..6).prop_map(|words| words.concat());
    let perhaps = |piece: &'static str| select(vec!["", piece]);
    let end = vec![
        "",
        "",
        SHORTEST_END,
        "\r\nSessionID: \r\nLocalAddress: \r\nRemoteAddress: \r\n\r\n",
        "\r\nRemoteAddress: (null)\r\n\r\n",
    ];
    let forged = (perhaps("\r\n\r\n"), select(end), perhaps(SHORTEST_BEGINNING), perhaps("x"));
    (words(), forged, words(), any::<bool>()).prop_map(|(before, (cut, end, beginning, account), after, neat)| {
        let forged = [cut, end, beginning, account].concat();
        if neat { forged } else { [before, forged, after].concat() }.into_bytes()
    })
}

/// Actors, each with the moment it begins.
pub fn company() -> impl Strategy<Value = Vec<(Actor, Time)>> {
    vec((actor(), 0..15 * MINUTE), 1..14)
}

pub fn traffic(company: &[(Actor, Time)]) -> Vec<Vec<(Time, SecurityEvent)>> {
    (1u16..).zip(company).map(|(number, (actor, start))| actor.events(number, *start)).collect()
}

pub fn merged(traffic: &[Vec<(Time, SecurityEvent)>]) -> Vec<(Time, SecurityEvent)> {
    let mut all = traffic.concat();
    all.sort_by_key(|(time, _)| *time);
    all
}
