//! Far more forged sources than there is room for, each of which names another account, stay within `limits.memory`.

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use sipban::config::{Config, Limits};
use sipban::judge::{Evidence, Policy, Verdict, judge, overdue};
use sipban::model::clock::{Now, UnixTime};
use sipban::model::security::{Kind, Service};

use super::model::LOGIN;
use super::traffic::event;

/// Bytes that are allowed in these tests.
const MEMORY: usize = 4 << 20;

/// Several times what there is room for.
const SOURCES: u32 = 100_000;

/// What a child process is to be flooded with.
const FLOOD: &str = "SIPBAN_TEST_FLOOD";

fn policy() -> Policy {
    let Config { limits, lengths, .. } = Config::default();
    let limits = Limits { memory: MEMORY, ..limits };
    Policy { limits, lengths, protected: [].into_iter().collect(), knows_own_ipv6: true }
}

fn now(milliseconds: u64) -> Now {
    let wall = UnixTime(1_700_000_000 + milliseconds / 1000);
    Now { wall, monotonic: Duration::from_secs(1000) + Duration::from_millis(milliseconds) }
}

/// One of five hundred million addresses, scattered.
fn address(n: u32) -> IpAddr {
    IpAddr::from((n.wrapping_mul(0x9e37_79b1) & 0x1fff_ffff | 0x2000_0000).to_be_bytes())
}

/// The longest name that is kept.
fn name(n: u32) -> Vec<u8> {
    format!("{n:0>128}").into_bytes()
}

/// Floods a judge with events and returns by how many bytes the process has grown at most, as the kernel counts them.
fn flooded(flood: &str) -> usize {
    let policy = policy();
    let mut evidence = Evidence::default();
    let before = resident("VmRSS:");
    let mut feed = |n: u32, service: Service, kind: Kind, from: IpAddr, account: &[u8]| {
        let event = event(from, service, kind, account, n.into());
        let _ = judge(&mut evidence, &policy, now(n.into()), &event);
        // As the daemon does once a second.
        if n % 1000 == 0 {
            let _ = overdue(&mut evidence, &policy, now(n.into()));
            drop(evidence.take_news());
        }
    };
    for n in 0..SOURCES {
        match flood {
            "failures" => feed(n, Service::Pjsip, Kind::ChallengeResponseFailed, address(n), &name(n)),
            "challenges" => feed(n, Service::Sip, Kind::ChallengeSent, address(n), &name(n)),
            "scans" => feed(n, Service::Pjsip, Kind::InvalidAccountId, address(n), &name(n)),
            // Each account is guessed at by twenty, each source guesses at several.
            "sieges" => feed(n, Service::Pjsip, Kind::ChallengeResponseFailed, address(n / 2), &name(n / 20)),
            // Those who have accounts; nobody can forge that.
            "logins" => feed(n, Service::Pjsip, LOGIN, address(n), &name(n)),
            "homes" => match n % 4 {
                0 => feed(n, Service::Pjsip, LOGIN, address(n), &name(n)),
                _ => feed(n, Service::Pjsip, Kind::ChallengeResponseFailed, address(n), &name(n)),
            },
            other => panic!("{other} is no flood"),
        };
    }
    resident("VmHWM:").saturating_sub(before)
}

/// Bytes of memory of this process.
fn resident(what: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// In a process of its own, because the kernel counts all of one.
#[test]
fn forged_sources_stay_within_the_memory_that_is_allowed() {
    if let Ok(flood) = std::env::var(FLOOD) {
        let grown = flooded(&flood);
        assert!(grown < MEMORY + MEMORY / 4, "{flood}: {grown} bytes, {MEMORY} are allowed");
        return;
    }
    let this = "bound::forged_sources_stay_within_the_memory_that_is_allowed";
    let floods = ["failures", "challenges", "scans", "sieges", "logins", "homes"];
    let failed = floods.map(|flood| {
        #[expect(clippy::disallowed_methods, reason = "what is measured is the memory of a process of its own")]
        let child = Command::new(std::env::current_exe().unwrap()).args(["--exact", this]).env(FLOOD, flood).output();
        let child = child.unwrap();
        let text = String::from_utf8_lossy(&child.stdout).into_owned();
        (!child.status.success()).then_some(text)
    });
    let failed: String = failed.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{failed}");
}

#[test]
fn homes_go_last() {
    let policy = policy();
    let mut evidence = Evidence::default();
    for n in 0..1000 {
        let _ = judge(&mut evidence, &policy, now(0), &event(address(n), Service::Pjsip, LOGIN, &name(n), n.into()));
    }
    let mut most = 0;
    for n in 1000..100_000 {
        let kind = [Kind::ChallengeResponseFailed, Kind::ChallengeSent, Kind::InvalidAccountId][n as usize % 3];
        let _ =
            judge(&mut evidence, &policy, now(n.into()), &event(address(n), Service::Pjsip, kind, &name(n), n.into()));
        most = most.max(evidence.len());
    }
    assert!(most < MEMORY / 200, "{most} sources");
    assert_eq!(evidence.homes(), (1000, 1000));
    for n in 0..1000 {
        let failure = event(address(n), Service::Pjsip, Kind::ChallengeResponseFailed, &name(n), n.into());
        for _ in 0..10 {
            assert_eq!(judge(&mut evidence, &policy, now(200_000), &failure), Verdict::Pass);
        }
    }
}
