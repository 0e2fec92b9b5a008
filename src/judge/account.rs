//! The account that a security event is about.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use crate::model::security::{SecurityEvent, Service};

/// The name of an account as a number, by which it is compared and found. The key of the hash is new in each process:
/// nobody can choose two names that become equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Account(u64);

impl Account {
    pub(super) fn of(name: &[u8]) -> Account {
        static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Account(HASHER.hash_one(name))
    }
}

/// The account's name as an event gives it. chan_sip writes the raw From URI into the ChallengeSent of an INVITE,
/// `sip:2000@192.0.2.1` for the account 2000 (measured on 16.28).
pub(super) fn name(event: &SecurityEvent) -> &[u8] {
    let given = &*event.account;
    let uri = given.strip_prefix(b"sip:").or_else(|| given.strip_prefix(b"sips:"));
    match uri {
        Some(uri) if event.service == Service::Sip => {
            &uri[..uri.iter().position(|byte| matches!(byte, b'@' | b';')).unwrap_or(uri.len())]
        }
        _ => given,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::security::{Endpoint, Kind, Transport};

    #[test]
    fn chan_sip_names_one_account_in_several_ways() {
        let endpoint = Endpoint { address: [192, 0, 2, 1].into(), transport: Transport::Udp, port: 5060 };
        let event = |service, account: &str| SecurityEvent {
            kind: Kind::ChallengeSent,
            service,
            account: account.as_bytes().into(),
            session: 1,
            local: endpoint,
            remote: endpoint,
            time: None,
            country: None,
        };
        for (given, plain) in [
            ("2000", "2000"),
            ("sip:2000@192.0.2.1", "2000"),
            ("sips:2000@pbx:5061;transport=tls", "2000"),
            ("sip:2000;user=phone", "2000"),
            ("sip:", ""),
        ] {
            assert_eq!(name(&event(Service::Sip, given)), plain.as_bytes());
            assert_eq!(name(&event(Service::Pjsip, given)), given.as_bytes());
        }
    }
}
