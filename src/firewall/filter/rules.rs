//! PURE: what the configuration asks for, in the words of `iptables-restore`.

use super::Version;
use crate::firewall::{Error, Scope};

/// What iptables takes as the name of a chain of one's own. It would take the name of a built-in one too, and
/// empty that.
pub(super) fn check_chain_name(chain: &str) -> Result<(), Error> {
    const TAKEN: [&str; 12] = [
        "INPUT",
        "OUTPUT",
        "FORWARD",
        "PREROUTING",
        "POSTROUTING",
        "ACCEPT",
        "DROP",
        "REJECT",
        "RETURN",
        "QUEUE",
        "LOG",
        "MARK",
    ];
    let why = if chain.is_empty() || chain.len() > 28 {
        "must have 1 to 28 characters"
    } else if !chain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:+@".contains(&byte)) {
        "may hold letters, digits and - _ . : + @ only"
    } else if !chain.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        "must begin with a letter or a digit"
    } else if TAKEN.contains(&chain) {
        "is a word of iptables itself"
    } else {
        return Ok(());
    };
    Err(Error(format!("iptables.chain: `{chain}` {why}; choose a name like sipban-udp")))
}

/// How an attacker may be told that he is not welcome: the name iptables lists it by, a short one that it takes
/// as well, and what ip6tables calls the like.
const REJECT_WITH: [(&str, &str, &str); 7] = [
    ("icmp-port-unreachable", "port-unreach", "icmp6-port-unreachable"),
    ("icmp-net-unreachable", "net-unreach", "icmp6-no-route"),
    ("icmp-host-unreachable", "host-unreach", "icmp6-addr-unreachable"),
    ("icmp-proto-unreachable", "proto-unreach", "icmp6-port-unreachable"),
    ("icmp-net-prohibited", "net-prohib", "icmp6-adm-prohibited"),
    ("icmp-host-prohibited", "host-prohib", "icmp6-adm-prohibited"),
    ("icmp-admin-prohibited", "admin-prohib", "icmp6-adm-prohibited"),
];

/// `iptables.rule` as iptables lists it, `-j` and all, so that what is in force can be compared with it.
pub(super) fn target(rule: &[String], version: Version) -> Result<String, Error> {
    let words: Vec<&str> = rule.iter().map(String::as_str).collect();
    let answer = match words[..] {
        ["DROP"] => return Ok("-j DROP".to_owned()),
        ["REJECT"] => "icmp-port-unreachable",
        ["REJECT", "--reject-with", answer] => answer,
        _ => return Err(Error(format!("iptables.rule: `{}` is neither DROP nor REJECT", words.join(" ")))),
    };
    if answer == "tcp-reset" {
        let why = "tcp-reset answers TCP only, and a block is for all protocols; use icmp-port-unreachable";
        return Err(Error(format!("iptables.rule: {why}")));
    }
    match REJECT_WITH.iter().find(|(name, short, six)| [*name, *short, *six].contains(&answer)) {
        Some((name, _, _)) if version == Version::V4 => Ok(format!("-j REJECT --reject-with {name}")),
        Some((_, _, six)) => Ok(format!("-j REJECT --reject-with {six}")),
        None => {
            let known: Vec<&str> = REJECT_WITH.iter().map(|(name, _, _)| *name).collect();
            Err(Error(format!("iptables.rule: unknown answer `{answer}`; known are {}", known.join(", "))))
        }
    }
}

/// The rules of INPUT that lead the traffic of `scope` through `chain`, without the `-A INPUT`.
pub(super) fn jumps(scope: &Scope, interface: Option<&str>, chain: &str) -> Result<Vec<String>, Error> {
    let matches = match scope {
        Scope::All => vec![String::new()],
        Scope::Match(words) => vec![line("iptables.scope", words)?],
        Scope::Ports { udp, tcp } => port_matches("udp", udp).chain(port_matches("tcp", tcp)).collect(),
    };
    let interface = match interface {
        Some(name) => format!("-i {} ", line("iptables.interface", &[name.to_owned()])?),
        None => String::new(),
    };
    let lead = |words: String| format!("{interface}{words}{}-j {chain}", if words.is_empty() { "" } else { " " });
    Ok(matches.into_iter().map(lead).collect())
}

/// A rule for each range, so that another one is another rule and those there are stay untouched.
fn port_matches<'a>(protocol: &'a str, ranges: &'a [(u16, u16)]) -> impl Iterator<Item = String> + 'a {
    ranges.iter().map(move |(first, last)| match first == last {
        true => format!("-p {protocol} --dport {first}"),
        false => format!("-p {protocol} --dport {first}:{last}"),
    })
}

/// Words as one line for `iptables-restore`, which splits at blanks outside double quotes.
fn line(key: &str, words: &[String]) -> Result<String, Error> {
    let plain = |word: &str| word.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(&byte));
    let quoted = words.iter().map(|word| match word {
        word if word.contains(char::is_control) => {
            Err(Error(format!("{key}: {word:?} holds a character that has no place in a rule")))
        }
        word if !word.is_empty() && plain(word) => Ok(word.clone()),
        word => Ok(format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))),
    });
    Ok(quoted.collect::<Result<Vec<_>, _>>()?.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_chain_name_that_would_hurt_others_or_break_a_line_is_refused() {
        for name in ["sipban-udp", "sipban", "1", "a.b_c:d+e@f"] {
            assert!(check_chain_name(name).is_ok(), "{name}");
        }
        for name in ["", "INPUT", "RETURN", "-x", "!x", "a b", "a\nb", "a\"b", "übel", &"a".repeat(29)] {
            let error = check_chain_name(name).unwrap_err();
            assert!(error.0.starts_with("iptables.chain: `"), "{error}");
        }
    }

    #[test]
    fn a_target_is_written_as_it_is_listed_and_translated_for_ipv6() {
        let both = |rule: &str| {
            let rule = words(rule);
            (target(&rule, Version::V4).unwrap(), target(&rule, Version::V6).unwrap())
        };
        assert_eq!(both("DROP"), ("-j DROP".to_owned(), "-j DROP".to_owned()));
        let port = ("-j REJECT --reject-with icmp-port-unreachable", "-j REJECT --reject-with icmp6-port-unreachable");
        let port = (port.0.to_owned(), port.1.to_owned());
        assert_eq!(both("REJECT"), port);
        assert_eq!(both("REJECT --reject-with icmp-port-unreachable"), port);
        assert_eq!(both("REJECT --reject-with port-unreach"), port);
        assert_eq!(both("REJECT --reject-with icmp6-port-unreachable"), port);
        assert!(both("REJECT --reject-with icmp-host-prohibited").1.ends_with("icmp6-adm-prohibited"));
    }

    #[test]
    fn a_target_that_would_block_nobody_is_refused() {
        for rule in ["ACCEPT", "LOG", "REJECT --reject-with", "DROP --now", "REJECT --reject-with tcp-reset", ""] {
            assert!(target(&words(rule), Version::V4).is_err(), "{rule}");
        }
        let error = target(&words("REJECT --reject-with nonsense"), Version::V4).unwrap_err();
        assert!(error.0.contains("known are icmp-port-unreachable, "), "{error}");
    }

    #[test]
    fn jumps_follow_the_scope() {
        let jumps = |scope: Scope, interface| jumps(&scope, interface, "c").unwrap();
        assert_eq!(jumps(Scope::All, None), ["-j c"]);
        assert_eq!(jumps(Scope::All, Some("eth0")), ["-i eth0 -j c"]);
        assert_eq!(jumps(Scope::Match(words("-p udp --dport 5060")), None), ["-p udp --dport 5060 -j c"]);
        let ports = Scope::Ports { udp: vec![(5060, 5061), (5080, 5080)], tcp: vec![(5060, 5061)] };
        let expected = [
            "-i eth0 -p udp --dport 5060:5061 -j c",
            "-i eth0 -p udp --dport 5080 -j c",
            "-i eth0 -p tcp --dport 5060:5061 -j c",
        ];
        assert_eq!(jumps(ports, Some("eth0")), expected);
    }

    #[test]
    fn words_of_a_match_stay_one_word_each_and_one_line_all() {
        let comment = |text: &str| Scope::Match(vec!["-m".into(), "comment".into(), "--comment".into(), text.into()]);
        assert_eq!(jumps(&comment("a \"b\\"), None, "c").unwrap(), [r#"-m comment --comment "a \"b\\" -j c"#]);
        assert!(jumps(&comment("a\n-F INPUT"), None, "c").is_err());
    }
}
