//! PURE: what the configuration asks for, in the words of `iptables-restore`.

use super::place::Place;
use crate::firewall::body::{Origin, Rule};
use crate::firewall::family::Family;
use crate::firewall::{Error, Traffic};
use crate::model::target::{ChainName, Icmp, Target};

/// The target of a block as iptables lists it, `-j` and all, so that what is in force can be compared with it.
pub(super) fn target(target: Target, family: Family) -> String {
    match (target, family) {
        (Target::Drop, _) => "-j DROP".to_owned(),
        (Target::Reject(icmp), Family::V4) => format!("-j REJECT --reject-with {}", icmp.name()),
        (Target::Reject(icmp), Family::V6) => {
            let icmp6 = match icmp {
                Icmp::PortUnreachable | Icmp::ProtoUnreachable => "icmp6-port-unreachable",
                Icmp::NetUnreachable => "icmp6-no-route",
                Icmp::HostUnreachable => "icmp6-addr-unreachable",
                Icmp::NetProhibited | Icmp::HostProhibited | Icmp::AdminProhibited => "icmp6-adm-prohibited",
            };
            format!("-j REJECT --reject-with {icmp6}")
        }
    }
}

/// A rule of our chain as it is listed. `target` is that of a block, `shield` the name of the chain of the shield.
pub(super) fn rule(rule: Rule<'_>, target: &str, shield: &str) -> String {
    match rule {
        Rule::Block(from) => format!("{} {target}", origin(from)),
        Rule::Shield => format!("-j {shield}"),
        Rule::Return => "-j RETURN".to_owned(),
    }
}

/// The rule of the shield that lets pass who comes from there.
pub(super) fn admission(from: &Origin) -> String {
    format!("{} -j RETURN", origin(from))
}

/// The match of an origin as it is listed.
pub(super) fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Net(net) => format!("-s {net}"),
        Origin::Set(name) => format!("-m set --match-set {name} src"),
    }
}

/// The rules of this place that lead the traffic through `chain`, without the `-A INPUT`.
pub(super) fn jumps(
    traffic: &Traffic,
    place: Place,
    interface: Option<&str>,
    chain: &ChainName,
) -> Result<Vec<String>, Error> {
    let matches = match traffic {
        Traffic::All => vec![String::new()],
        Traffic::Match(words) => vec![line("iptables.scope", words)?],
        Traffic::Ports { udp, tcp } => port_matches("udp", udp).chain(port_matches("tcp", tcp)).collect(),
    };
    let interface = match interface {
        Some(name) => format!("-i {} ", line("iptables.interface", &[name.to_owned()])?),
        None => String::new(),
    };
    let local = place.local();
    let lead =
        |words: String| format!("{interface}{words}{}{local}-j {chain}", if words.is_empty() { "" } else { " " });
    Ok(matches.into_iter().map(lead).collect())
}

/// A rule for each range, so that another one is another rule and those there are stay untouched. In the words that it
/// is listed with, so that one left by an earlier process is known again.
fn port_matches<'a>(protocol: &'a str, ranges: &'a [(u16, u16)]) -> impl Iterator<Item = String> + 'a {
    ranges.iter().map(move |(first, last)| match first == last {
        true => format!("-p {protocol} -m {protocol} --dport {first}"),
        false => format!("-p {protocol} -m {protocol} --dport {first}:{last}"),
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
    fn a_target_is_written_as_it_is_listed_and_translated_for_ipv6() {
        let both = |rule: &str| Family::BOTH.map(|family| target(rule.parse().unwrap(), family));
        assert_eq!(both("DROP"), ["-j DROP", "-j DROP"]);
        for rule in ["REJECT", "REJECT --reject-with port-unreach"] {
            let expected = ["icmp-port-unreachable", "icmp6-port-unreachable"];
            assert_eq!(both(rule), expected.map(|icmp| format!("-j REJECT --reject-with {icmp}")));
        }
        assert!(both("REJECT --reject-with icmp-host-prohibited")[1].ends_with("icmp6-adm-prohibited"));
    }

    #[test]
    fn jumps_follow_the_traffic() {
        let jumps =
            |traffic: Traffic, interface| jumps(&traffic, Place::Input, interface, &"c".parse().unwrap()).unwrap();
        assert_eq!(jumps(Traffic::All, None), ["-j c"]);
        assert_eq!(jumps(Traffic::All, Some("eth0")), ["-i eth0 -j c"]);
        assert_eq!(jumps(Traffic::Match(words("-p udp --dport 5060")), None), ["-p udp --dport 5060 -j c"]);
        let ports = Traffic::Ports { udp: vec![(5060, 5061), (5080, 5080)], tcp: vec![(5060, 5061)] };
        let expected = [
            "-i eth0 -p udp -m udp --dport 5060:5061 -j c",
            "-i eth0 -p udp -m udp --dport 5080 -j c",
            "-i eth0 -p tcp -m tcp --dport 5060:5061 -j c",
        ];
        assert_eq!(jumps(ports, Some("eth0")), expected);
    }

    #[test]
    fn words_of_a_match_stay_one_word_each_and_one_line_all() {
        let comment = |text: &str| Traffic::Match(vec!["-m".into(), "comment".into(), "--comment".into(), text.into()]);
        let chain = "c".parse().unwrap();
        assert_eq!(
            jumps(&comment("a \"b\\"), Place::Input, None, &chain).unwrap(),
            [r#"-m comment --comment "a \"b\\" -j c"#]
        );
        assert!(jumps(&comment("a\n-F INPUT"), Place::Raw, None, &chain).is_err());
    }
}
