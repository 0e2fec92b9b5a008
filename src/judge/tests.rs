//! Whom the table in [`super`] blocks, rule by rule, with the defaults of the configuration.

use super::*;
use crate::config::Config;
use crate::model::clock::UnixTime;
use crate::model::security::{Acl, Service, Transport};

mod bounds;
mod challenges;
mod coming_back;
mod crowds;
mod forgery;
mod homes;
mod strangers;
mod weather;

const LOGIN: Kind = Kind::SuccessfulAuth { using_password: true };
const UNKNOWN: Kind = Kind::InvalidAccountId;
const WRONG: Kind = Kind::ChallengeResponseFailed;
const REGISTRAR: Kind = Kind::FailedAcl(Acl::Request);

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const ONE_DAY: u64 = 86_400;

/// A judge, what it knows, and the time.
struct Court {
    evidence: Evidence,
    policy: Policy,
    now: Now,
    session: u64,
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sentence {
    source: IpNet,
    reason: Reason,
    seconds: u64,
}

impl Court {
    fn new() -> Court {
        let protected = ["192.0.2.0/24", "2001:db8:aa::1/128"].iter().map(|text| net(text)).collect();
        let Config { limits, lengths, .. } = Config::default();
        Court {
            evidence: Evidence::default(),
            policy: Policy { limits, lengths, protected, knows_own_ipv6: true },
            now: Now { wall: UnixTime(1_700_000_000), monotonic: Duration::from_secs(1_000) },
            session: 0,
        }
    }

    fn with(change: impl FnOnce(&mut Limits)) -> Court {
        let mut court = Court::new();
        change(&mut court.policy.limits);
        court
    }

    /// Time passes in which nothing happens.
    fn wait(&mut self, seconds: u64) {
        self.now.monotonic += Duration::from_secs(seconds);
        self.now.wall = self.now.wall + seconds;
    }

    /// Time passes, second by second as in the daemon. Returns who is blocked meanwhile.
    fn tick(&mut self, seconds: u64) -> Vec<Sentence> {
        let mut sentences = Vec::new();
        for _ in 0..seconds {
            self.wait(1);
            sentences.extend(overdue(&mut self.evidence, &self.policy, self.now).iter().filter_map(sentence));
            if self.now.wall.0 % 30 == 0 {
                self.evidence.expire(&self.policy, self.now);
            }
        }
        sentences
    }

    /// An event in a session of its own.
    fn event(&mut self, kind: Kind, from: &str, account: &str) -> SecurityEvent {
        self.session += 1;
        SecurityEvent {
            kind,
            service: Service::Pjsip,
            account: account.as_bytes().into(),
            session: self.session,
            local: endpoint("198.18.0.1"),
            remote: endpoint(from),
            time: None,
            country: None,
        }
    }

    fn judge(&mut self, event: &SecurityEvent) -> Verdict {
        judge(&mut self.evidence, &self.policy, self.now, event)
    }

    fn hear(&mut self, kind: Kind, from: &str, account: &str) -> Verdict {
        let event = self.event(kind, from, account);
        self.judge(&event)
    }

    /// An event that blocks nobody.
    #[track_caller]
    fn acquit(&mut self, kind: Kind, from: &str, account: &str) {
        assert_eq!(self.hear(kind, from, account), Verdict::Pass, "{kind:?} of {account} from {from}");
    }

    /// An event that blocks its sender; returns for how long.
    #[track_caller]
    fn convict(&mut self, kind: Kind, from: &str, account: &str) -> u64 {
        let verdict = self.hear(kind, from, account);
        let sentence = sentence(&verdict).unwrap_or_else(|| panic!("{verdict:?}: {kind:?} of {account} from {from}"));
        assert_eq!(sentence.source, source(&self.evidence, &self.policy, from.parse().unwrap()));
        sentence.seconds
    }

    /// A phone registers: it is challenged and answers.
    #[track_caller]
    fn register(&mut self, from: &str, account: &str) {
        let challenge = self.event(Kind::ChallengeSent, from, account);
        let login = SecurityEvent { kind: LOGIN, ..challenge.clone() };
        assert_eq!(self.judge(&challenge), Verdict::Pass);
        assert_eq!(self.judge(&login), Verdict::Pass);
    }
}

fn sentence(verdict: &Verdict) -> Option<Sentence> {
    match verdict {
        Verdict::Block { source, reason, seconds, .. } => {
            Some(Sentence { source: *source, reason: *reason, seconds: *seconds })
        }
        _ => None,
    }
}

fn endpoint(address: &str) -> Endpoint {
    Endpoint { address: address.parse().unwrap(), transport: Transport::Udp, port: 5060 }
}

/// An address or a network.
fn net(text: &str) -> IpNet {
    text.parse().unwrap_or_else(|_| IpNet::from(text.parse::<IpAddr>().unwrap()))
}

/// An address in a neighbourhood of its own.
fn far(n: u32) -> String {
    format!("11.{}.{}.7", n / 256, n % 256)
}
