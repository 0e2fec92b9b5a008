//! PURE: what `ipset list -t` and `ipset save` say of sets and their entries.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::SET_TIMEOUT_MAX;

/// What a set is like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// Its type, such as `hash:net`.
    pub kind: String,
    /// `inet` or `inet6`.
    pub family: String,
    /// Most entries it takes.
    pub maxelem: u32,
    /// Whether entries end by themselves.
    pub timeout: bool,
    /// Whether an entry stands for more than it says, or may push another one out.
    pub odd: bool,
    /// Entries now, without those that have ended; `None` if this ipset does not say.
    pub entries: Option<usize>,
}

/// An entry of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SetEntry {
    pub net: IpNet,
    /// Seconds until the kernel ends it; `None`: never.
    pub remaining: Option<u64>,
    /// It is an exception from a network around it.
    pub exempt: bool,
    /// Packets and bytes that matched, if the set counts them.
    pub counted: Option<(u64, u64)>,
}

/// All sets of `ipset list -t`, by name.
pub(super) fn headers(text: &str) -> HashMap<String, Header> {
    let mut headers = HashMap::new();
    let mut name = "";
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':').map(|(key, value)| (key, value.trim())) else { continue };
        if key == "Name" {
            name = value;
        }
        let header: &mut Header = headers.entry(name.to_owned()).or_default();
        match key {
            "Type" => header.kind = value.to_owned(),
            "Header" => header.read(value),
            "Number of entries" => header.entries = value.parse().ok(),
            _ => {}
        }
    }
    headers
}

/// The entries of `ipset save NAME`.
pub(super) fn entries(text: &str) -> Vec<SetEntry> {
    text.lines().filter_map(SetEntry::parse).collect()
}

impl Header {
    fn read(&mut self, text: &str) {
        let mut words = text.split(' ');
        while let Some(word) = words.next() {
            match word {
                "family" => self.family = words.next().unwrap_or_default().to_owned(),
                "maxelem" => self.maxelem = words.next().and_then(|word| word.parse().ok()).unwrap_or_default(),
                "timeout" => self.timeout = true,
                "netmask" | "bitmask" | "forceadd" => self.odd = true,
                _ => {}
            }
        }
    }
}

impl SetEntry {
    fn parse(line: &str) -> Option<SetEntry> {
        let mut words = line.strip_prefix("add ")?.split(' ').skip(1);
        let net = words.next()?;
        let net = net.parse().ok().or_else(|| net.parse::<IpAddr>().ok().map(IpNet::from))?;
        let mut held = SetEntry { net, remaining: None, exempt: false, counted: None };
        while let Some(word) = words.next() {
            let mut number = || words.next()?.parse::<u64>().ok();
            match word {
                "timeout" => held.remaining = number().filter(|seconds| *seconds > 0),
                "nomatch" => held.exempt = true,
                "packets" => held.counted = number().map(|packets| (packets, 0)),
                "bytes" => held.counted = held.counted.zip(number()).map(|((packets, _), bytes)| (packets, bytes)),
                // Free text in quotes, and nothing of interest behind it.
                "comment" => break,
                _ => {}
            }
        }
        Some(held)
    }
}

impl fmt::Display for SetEntry {
    /// What follows `add NAME`. The kernel tells whole seconds that are left, and a copy must not end too early.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timeout = self.remaining.map_or(0, |seconds| (seconds + 1).min(SET_TIMEOUT_MAX));
        write!(f, "{} timeout {timeout}", self.net)?;
        if self.exempt {
            f.write_str(" nomatch")?;
        }
        if let Some((packets, bytes)) = self.counted {
            write!(f, " packets {packets} bytes {bytes}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_by_name() {
        let text = "Name: sipban\nType: hash:net\nRevision: 7\nHeader: family inet hashsize 1024 maxelem 65536 timeout \
                    86400 counters bucketsize 12 initval 0xd014bfeb\nSize in memory: 456\nReferences: 0\nNumber of \
                    entries: 3\n\nName: old\nType: hash:ip\nHeader: family inet6 hashsize 64 maxelem 9 netmask 64\n";
        let headers = headers(text);
        assert_eq!(headers.len(), 2);
        let expected = Header {
            kind: "hash:net".to_owned(),
            family: "inet".to_owned(),
            maxelem: 65536,
            timeout: true,
            odd: false,
            entries: Some(3),
        };
        assert_eq!(headers["sipban"], expected);
        let old = &headers["old"];
        assert_eq!((&old.kind[..], &old.family[..], old.maxelem), ("hash:ip", "inet6", 9));
        assert!(old.odd && !old.timeout && old.entries.is_none());
    }

    #[test]
    fn entries_are_read_with_all_that_may_stand_behind_them() {
        let text = "create s hash:net family inet timeout 0\nadd s 192.0.2.1\nadd s 192.0.2.2 timeout 0\n\
                    add s 198.51.100.0/24 timeout 7 packets 3 bytes 99\nadd s 192.0.2.3 timeout 5 nomatch\n\
                    add s 2001:db8::/64 timeout 9 comment \"a timeout 1\"\nadd s nonsense\n";
        let entries = entries(text);
        let lines: Vec<String> = entries.iter().map(SetEntry::to_string).collect();
        let expected = [
            "192.0.2.1/32 timeout 0",
            "192.0.2.2/32 timeout 0",
            "198.51.100.0/24 timeout 8 packets 3 bytes 99",
            "192.0.2.3/32 timeout 6 nomatch",
            "2001:db8::/64 timeout 10",
        ];
        assert_eq!(lines, expected);
    }

    proptest::proptest! {
        #[test]
        fn no_listing_is_too_strange_to_read(text in "(add s |Name: |Header: )?([0-9./: ]|timeout |comment \"|maxelem ){0,20}\n?") {
            headers(&text);
            entries(&text);
        }
    }
}
