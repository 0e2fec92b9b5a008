//! Any events at any times, under any limits, with restarts and clocks that are set: nobody protected is blocked, nobody for
//! longer than is configured, only logins make homes, memory is bounded, and no number overflows.
#![no_main]

use std::net::IpAddr;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sipban::config::{Config, Lengths, Limits};
use sipban::judge::{Evidence, Policy, Verdict, judge, overdue};
use sipban::model::clock::{Now, UnixTime};
use sipban::model::security::{Acl, Endpoint, Kind, SecurityEvent, Service, Transport};

/// Bytes of memory that are allowed, and the most sources that are held in them.
const MEMORY: usize = 1 << 20;
const MOST: usize = MEMORY / 200;

#[derive(Arbitrary, Debug)]
struct Case {
    limits: [u8; 20],
    lengths: [u8; 4],
    steps: Vec<Step>,
}

/// What stands for a restart among the things that may happen.
const RESTART: u8 = 8;

#[derive(Arbitrary, Debug)]
struct Step {
    kind: u8,
    from: u8,
    account: u8,
    session: u8,
    milliseconds: u16,
    long: bool,
    also: u8,
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
    let (limits, lengths) = (case.limits(), case.lengths());
    let knows_own_ipv6 = case.limits[0] % 2 == 0;
    let mut policy = Policy { limits, lengths, protected: protected.into_iter().collect(), knows_own_ipv6 };
    let mut evidence = Evidence::default();
    let mut own = Vec::new();
    let mut now = Now { wall: UnixTime(1_700_000_000), monotonic: Duration::from_secs(1000) };
    for step in case.steps {
        let passed = Duration::from_millis(step.milliseconds.into()) * if step.long { 5000 } else { 1 };
        now = Now { wall: now.wall + passed.as_secs(), monotonic: now.monotonic + passed };
        step.happens(&mut evidence, &mut policy, &mut now);
        if step.also == RESTART {
            own.clear();
        }
        let event = step.event();
        let homes = evidence.homes();
        let late = overdue(&mut evidence, &policy, now);
        let verdict = judge(&mut evidence, &policy, now, &event);
        own.push(event.local.address);
        if event.kind != (Kind::SuccessfulAuth { using_password: true }) {
            assert_eq!(evidence.homes(), homes, "only a login makes a home");
        }
        let longest = [policy.lengths.ban, policy.lengths.home, policy.lengths.longest].into_iter().max();
        for verdict in late.iter().chain([&verdict]) {
            if let Verdict::Block { source, seconds, .. } = verdict {
                assert!(!policy.protected.meets(source) && !source.addr().is_loopback(), "{source}");
                assert!(!own.iter().any(|own| source.contains(own)), "{source} holds an address of this machine");
                assert!(*seconds > 0 && Some(*seconds) <= longest, "{source} for {seconds} s");
            }
        }
        assert!(evidence.len() <= MOST, "{} sources", evidence.len());
        evidence.dossier(&policy, now, event.source());
        evidence.account(&event.account, now);
    }
});

impl Case {
    fn limits(&self) -> Limits {
        let mut limits = Config::default().limits;
        let counts = [
            &mut limits.unknown_account,
            &mut limits.wrong_password,
            &mut limits.acl,
            &mut limits.ami,
            &mut limits.day_guesses,
            &mut limits.pressure,
            &mut limits.neighbours,
            &mut limits.hammer,
            &mut limits.home_guesses,
            &mut limits.strange,
            &mut limits.home_challenges,
            &mut limits.weather,
            &mut limits.flood_count,
        ];
        counts.into_iter().zip(self.limits).for_each(|(count, byte)| *count = byte.into());
        limits.weather_share = u32::from(self.limits[13] % 100) + 1;
        let times = [&mut limits.window, &mut limits.home_time, &mut limits.weather_time, &mut limits.flood_interval];
        times.into_iter().zip(&self.limits[14..]).for_each(|(time, byte)| *time = u64::from(*byte) * 60);
        limits.ipv6_prefix = self.limits[18] % 97 + 32;
        Limits { memory: MEMORY, ..limits }
    }

    fn lengths(&self) -> Lengths {
        let [ban, home, growth, longest] = self.lengths.map(u64::from);
        Lengths { ban: ban + 1, home: home * 10, growth, longest: longest * 100 + 1 }
    }
}

impl Step {
    /// What else may happen in the meantime.
    fn happens(&self, evidence: &mut Evidence, policy: &mut Policy, now: &mut Now) {
        match self.also {
            0..8 => evidence.expire(policy, *now),
            RESTART => {
                let memories: Vec<_> = evidence.memories().collect();
                *evidence = Evidence::default();
                evidence.restore(memories);
            }
            9 => {
                let seconds = i64::from(self.milliseconds) * 1000 - 30_000_000;
                now.wall = UnixTime(now.wall.0.saturating_add_signed(seconds));
                evidence.shift(seconds);
            }
            10 => {
                let sources: Vec<_> = evidence.sources().copied().collect();
                sources.iter().for_each(|source| evidence.forget(source));
            }
            11 => policy.limits.ipv6_prefix = self.session % 97 + 32,
            12 => drop(evidence.take_news()),
            _ => {}
        }
    }

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
            country: None,
        }
    }
}
