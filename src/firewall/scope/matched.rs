//! Which ports a match in iptables' own words lets through.
//!
//! PURE: no clock, no I/O.

/// The UDP and TCP traffic that a match is for: destination ports as inclusive ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    /// UDP ports.
    pub udp: Vec<(u16, u16)>,
    /// TCP ports.
    pub tcp: Vec<(u16, u16)>,
    /// Whether it is for all of that traffic, and for nothing else; otherwise for a part of it.
    pub exact: bool,
}

/// All ports.
pub const ALL: (u16, u16) = (0, u16::MAX);

/// Reads a match, given as arguments. `None` if it cannot be told what it is for.
pub fn matched(words: &[String]) -> Option<Matched> {
    // `--dport=5060` and `-pudp` are one word each.
    let mut words = words.iter().flat_map(|word| match word.split_once('=') {
        Some((option, value)) if option.starts_with("--") => vec![option, value],
        _ if word.starts_with("-p") && word.len() > 2 => vec!["-p", &word[2..]],
        _ => vec![word.as_str()],
    });
    let (mut udp, mut tcp, mut exact) = (true, true, false);
    let mut ports = vec![ALL];
    let mut narrower = false;
    while let Some(word) = words.next() {
        match word {
            "-p" | "--protocol" | "--proto" => match &words.next()?.to_ascii_lowercase()[..] {
                "udp" | "17" => (tcp, exact) = (false, true),
                "tcp" | "6" => (udp, exact) = (false, true),
                "all" | "0" => {}
                _ => narrower = true,
            },
            "--dport" | "--dports" | "--destination-port" | "--destination-ports" => {
                ports = words.next()?.split(',').map(range).collect::<Option<_>>()?;
            }
            "-m" | "--match" => narrower |= !["udp", "tcp", "multiport", "comment"].contains(&words.next()?),
            "--comment" => drop(words.next()),
            // What this turns round is beyond us.
            "!" => return None,
            _ => narrower = true,
        }
    }
    let of = |led: bool| if led { ports.clone() } else { Vec::new() };
    Some(Matched { udp: of(udp), tcp: of(tcp), exact: exact && !narrower })
}

/// `5060`, `5060:5061`, `5060:` or `sip`.
fn range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str, missing| match text {
        "" => Some(missing),
        "sip" => Some(5060),
        "sips" | "sip-tls" => Some(5061),
        _ => text.parse().ok(),
    };
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    Some((port(first, 0)?, port(last, u16::MAX)?)).filter(|(first, last)| first <= last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_is_for_its_ports_and_no_others() {
        let read = |text: &str| matched(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let ports = |udp: &[(u16, u16)], tcp: &[(u16, u16)], exact| {
            Some(Matched { udp: udp.to_vec(), tcp: tcp.to_vec(), exact })
        };
        for (text, expected) in [
            ("-p udp --dport 5060", ports(&[(5060, 5060)], &[], true)),
            ("-pudp --dport=sip", ports(&[(5060, 5060)], &[], true)),
            ("-p tcp", ports(&[], &[ALL], true)),
            ("-p udp -m multiport --dports 5060:5061,5080", ports(&[(5060, 5061), (5080, 5080)], &[], true)),
            ("-p udp --dport 5060:", ports(&[(5060, u16::MAX)], &[], true)),
            ("-p udp -m comment --comment sip --dport 5060", ports(&[(5060, 5060)], &[], true)),
            ("-s 10.0.0.0/8", ports(&[ALL], &[ALL], false)),
            ("-p udp -m set --match-set x src", ports(&[ALL], &[], false)),
            ("! -p udp", None),
            ("-p udp --dport nonsense", None),
            ("-p udp --dport 9:8", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
