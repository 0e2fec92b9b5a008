//! Any events at any times: nobody protected is blocked, memory is bounded, and no number overflows.
#![no_main]

use std::net::IpAddr;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sipban::config::Config;
use sipban::judge::evidence::MAX_SOURCES;
use sipban::judge::{Evidence, Policy, Verdict, judge, overdue, standing};
use sipban::model::clock::{Now, UnixTime};
use sipban::model::security::{Acl, Endpoint, Kind, SecurityEvent, Service, Transport};

#[derive(Arbitrary, Debug)]
struct Case {
    limits: [u8; 8],
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
struct Step {
    kind: u8,
    from: u8,
    account: u8,
    session: u8,
    milliseconds: u16,
    long: bool,
}

const KINDS: [Kind; 18] = [
    Kind::ChallengeSent,
    Kind::SuccessfulAuth { using_password: true },
    Kind::SuccessfulAuth { using_password: false },
    Kind::InvalidAccountId,
    Kind::ChallengeResponseFailed,
    Kind::InvalidPassword,
    Kind::FailedAcl(Acl::Access),
    Kind::FailedAcl(Acl::Request),
    Kind::RequestNotSupported,
    Kind::RequestNotAllowed,
    Kind::RequestBadFormat,
    Kind::SessionLimit,
    Kind::InvalidTransport,
    Kind::UnexpectedAddress,
    Kind::MemoryLimit,
    Kind::Tampered,
    Kind::Other,
    Kind::AuthMethodNotAllowed,
];

fuzz_target!(|case: Case| {
    let protected = ["192.0.2.0/30", "2001:db8:0:1::7/128"].map(|net| net.parse().expect("a network"));
    let mut limits = Config::default().limits;
    let [unknown, wrong, acl, ami, trusted, flood, interval, trust] = case.limits;
    (limits.unknown_account, limits.wrong_password) = (unknown.into(), wrong.into());
    (limits.acl, limits.ami, limits.trusted) = (acl.into(), ami.into(), trusted.into());
    (limits.flood_count, limits.flood_interval, limits.trust_time) = (flood.into(), interval.into(), trust.into());
    let policy = Policy { limits, protected: protected.into_iter().collect(), knows_own_ipv6: unknown % 2 == 0 };
    let mut evidence = Evidence::default();
    let mut own = Vec::new();
    let mut now = Now { wall: UnixTime(1_700_000_000), monotonic: Duration::from_secs(1000) };
    for step in case.steps {
        let passed = Duration::from_millis(step.milliseconds.into()) * if step.long { 50 } else { 1 };
        now = Now { wall: now.wall + passed.as_secs(), monotonic: now.monotonic + passed };
        let event = step.event();
        let late = overdue(&mut evidence, &policy, now);
        let verdict = judge(&mut evidence, &policy, now, &event);
        own.push(event.local.address);
        for verdict in late.iter().chain([&verdict]) {
            if let Verdict::Block { source, .. } = verdict {
                assert!(!policy.protected.meets(source) && !source.addr().is_loopback(), "{source}");
                assert!(!own.iter().any(|own| source.contains(own)), "{source} holds an address of this machine");
            }
        }
        let sources: Vec<_> = evidence.sources().copied().collect();
        assert!(sources.len() <= MAX_SOURCES);
        for source in sources {
            standing(&evidence, &policy, now, &source);
        }
        if step.long {
            evidence.expire(&policy, now);
        }
    }
});

impl Step {
    fn event(&self) -> SecurityEvent {
        let from = self.from % 8;
        let address = match self.from / 8 % 4 {
            0 => IpAddr::from([192, 0, 2, from]),
            1 => IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, u16::from(from)]),
            2 => IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, u16::from(from)]),
            _ => IpAddr::from([127, 0, 0, from]),
        };
        let endpoint = |address| Endpoint { address, transport: Transport::Udp, port: 5060 };
        let own = if self.from > 200 { IpAddr::from([192, 0, 2, 6]) } else { IpAddr::from([0, 0, 0, 0]) };
        SecurityEvent {
            kind: KINDS[usize::from(self.kind) % KINDS.len()],
            service: [Service::Pjsip, Service::Sip, Service::Ami, Service::Other][usize::from(self.account) % 4],
            account: if self.account < 40 { b"<unknown>".as_slice().into() } else { vec![self.account].into() },
            session: u64::from(self.session % 8),
            local: endpoint(own),
            remote: endpoint(address),
            time: None,
        }
    }
}
