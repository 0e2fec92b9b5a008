//! PURE: what `iptables-save -t TABLE` says of our chain and of the way to it.

use std::collections::HashSet;

use super::place::Place;
use super::strangers::{Names, Rules};
use crate::firewall::body::{Body, Origin};
use crate::firewall::neighbours::FREEPBX_CHAIN;

/// The part of a table that concerns us.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Listing {
    /// Our chain, if it is there.
    pub chain: Option<Contents>,
    /// What stands in the chains of the shield that are there.
    pub shield: Rules,
    /// The rules of INPUT, or where our place is, that jump to it, without the `-A INPUT`.
    pub jumps: Vec<String>,
    /// The rule of INPUT that lets traffic in before it comes to one of the jumps.
    pub bypass: Option<String>,
    /// The rules of INPUT that block what is in our set without leading to our chain, as the Perl program made them,
    /// without the `-A INPUT`.
    pub leftovers: Vec<String>,
    /// Rules of others that lead to chains of ours, each behind the name of that chain.
    pub references: Vec<(String, String)>,
    /// Whether FreePBX's firewall is at work.
    pub freepbx: bool,
}

/// What stands in our chain.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Contents {
    /// The rules that belong there, each once, as listed.
    pub body: Body,
    /// How many rules block what another rule blocks already.
    pub doubles: usize,
    /// How many blocks have another target than ours.
    pub other_target: usize,
    /// Rules that are no blocks.
    pub strays: Vec<String>,
    /// Whether the last rule, and no other, is RETURN.
    pub returns_last: bool,
}

impl Listing {
    /// `names` are those of the chains of the shield, `target` is that of our blocks as it is listed, such as `-j DROP`,
    /// `set` the name of ours, if any.
    pub(super) fn parse(
        text: &str,
        place: Place,
        chain: &str,
        names: &Names,
        target: &str,
        set: Option<&str>,
    ) -> Listing {
        let hooked = format!("-A {} ", place.hook());
        let declaration = format!(":{chain} ");
        let block = format!("-A {chain} ");
        let to_shield = format!("-j {}", names.shield);
        let of_shield = |line: &str| {
            let (name, rule) = line.split_once(' ')?;
            names.all().contains(&name).then(|| (name.to_owned(), rule.to_owned()))
        };
        let refers_to = |line: &str| {
            let (_, to) = destination(line)?;
            (to == chain || names.all().contains(&to)).then(|| (to.to_owned(), line.to_owned()))
        };
        let mut listing = Listing::default();
        let mut lets_in = None;
        let mut seen = HashSet::new();
        // Old versions end a rule with a blank.
        for line in text.lines().map(str::trim_end) {
            if let Some(rule) = line.strip_prefix(&block) {
                listing.chain.get_or_insert_default().add(rule, target, &to_shield, &mut seen);
            } else if let Some(rule) = line.strip_prefix(&hooked) {
                match destination(rule) {
                    Some(("-j", to)) if to == chain => {
                        listing.jumps.push(rule.to_owned());
                        listing.bypass = listing.bypass.take().or(lets_in.clone());
                    }
                    Some(("-g", to)) if to == chain => listing.references.extend(refers_to(line)),
                    Some(("-g", _) | ("-j", "ACCEPT" | "RETURN")) if !is_loopback(rule) => {
                        lets_in.get_or_insert_with(|| rule.to_owned());
                    }
                    Some(("-j", "DROP" | "REJECT")) if set.is_some_and(|set| matches_set(rule, set)) => {
                        listing.leftovers.push(rule.to_owned());
                    }
                    _ => listing.references.extend(refers_to(line)),
                }
            } else if let Some((name, rule)) = line.strip_prefix("-A ").and_then(of_shield) {
                listing.shield.entry(name).or_default().push(rule);
            } else if let Some((name, _)) = line.strip_prefix(':').and_then(of_shield) {
                listing.shield.entry(name).or_default();
            } else if line.starts_with(&declaration) {
                listing.chain.get_or_insert_default();
            } else if line.strip_prefix(':').is_some_and(|rest| rest.starts_with(FREEPBX_CHAIN)) {
                listing.freepbx = true;
            } else if line.contains(chain) {
                listing.references.extend(refers_to(line));
            }
        }
        listing
    }

    /// A rule of others that leads to this chain of ours.
    pub(super) fn reference_to(&self, chain: &str) -> Option<&str> {
        self.references.iter().find(|(to, _)| to == chain).map(|(_, rule)| &rule[..])
    }
}

impl Contents {
    fn add(&mut self, rule: &str, target: &str, to_shield: &str, seen: &mut HashSet<Origin>) {
        // A RETURN hides what stands behind it.
        if std::mem::take(&mut self.returns_last) {
            self.strays.push("-j RETURN".to_owned());
        }
        if rule == "-j RETURN" {
            self.returns_last = true;
            return;
        }
        if rule == to_shield && !self.body.shield {
            self.body.shield = true;
            return;
        }
        match origin(rule) {
            Some((source, to)) if to == target || to == "-j DROP" || to.starts_with("-j REJECT") => {
                self.other_target += usize::from(to != target);
                match seen.insert(source.clone()) {
                    true => self.body.blocks.push(source),
                    false => self.doubles += 1,
                }
            }
            _ => self.strays.push(rule.to_owned()),
        }
    }
}

/// Packets that the rule for `wanted` has dropped, of `iptables-save -c -t filter`.
pub(super) fn packets(text: &str, chain: &str, wanted: &Origin) -> Option<u64> {
    let ours = format!("-A {chain} ");
    text.lines().map(str::trim_end).find_map(|line| {
        let (counters, rule) = line.strip_prefix('[')?.split_once("] ")?;
        let (source, _) = origin(rule.strip_prefix(&ours)?)?;
        if source == *wanted { counters.split(':').next()?.parse().ok() } else { None }
    })
}

/// The origin a rule begins with, and the rest of the rule.
fn origin(rule: &str) -> Option<(Origin, &str)> {
    if let Some(rule) = rule.strip_prefix("-s ") {
        let (net, rest) = rule.split_once(' ')?;
        return Some((Origin::Net(net.parse().ok()?), rest));
    }
    let (set, rest) = rule.strip_prefix("-m set --match-set ")?.split_once(" src ")?;
    if set.contains(' ') { None } else { Some((Origin::Set(set.to_owned()), rest)) }
}

/// How and where a rule leads: `-j` or `-g`, and the target. A comment may hold such words too, in quotes.
fn destination(rule: &str) -> Option<(&str, &str)> {
    let words: Vec<&str> = words(rule).collect();
    words.windows(2).find(|pair| matches!(pair[0], "-j" | "-g")).map(|pair| (pair[0], pair[1]))
}

/// Whether a rule is for sources that are in `set`.
fn matches_set(rule: &str, set: &str) -> bool {
    let words: Vec<&str> = words(rule).collect();
    words
        .windows(3)
        .enumerate()
        .any(|(at, three)| three == ["--match-set", set, "src"] && (at == 0 || words[at - 1] != "!"))
}

fn is_loopback(rule: &str) -> bool {
    let words: Vec<&str> = words(rule).collect();
    words.windows(2).enumerate().any(|(at, pair)| pair == ["-i", "lo"] && (at == 0 || words[at - 1] != "!"))
}

/// Splits at blanks outside double quotes, in which a backslash takes the meaning from what follows.
fn words(rule: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    let ends = move |letter: char| {
        let literal = std::mem::take(&mut escaped);
        match letter {
            '\\' if quoted && !literal => escaped = true,
            '"' if !literal => quoted = !quoted,
            _ => {}
        }
        letter == ' ' && !quoted
    };
    rule.split(ends).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::filter::words;

    fn names() -> Names {
        Names::of(&"sipban-udp".parse().unwrap())
    }

    fn parse(rules: &str) -> Listing {
        let text = format!("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n{rules}COMMIT\n# Completed\n");
        Listing::parse(&text, Place::Input, "sipban-udp", &names(), "-j DROP", Some("sipban"))
    }

    fn net(text: &str) -> Origin {
        Origin::Net(text.parse().unwrap())
    }

    fn nets(texts: &[&str]) -> Vec<Origin> {
        texts.iter().map(|text| net(text)).collect()
    }

    #[test]
    fn without_our_chain_there_is_nothing() {
        assert_eq!(parse(":sipban-udp-old - [0:0]\n-A INPUT -j sipban-udp-old\n"), Listing::default());
    }

    #[test]
    fn a_sound_chain_has_blocks_and_a_return_at_the_end() {
        let listing = parse(
            ":sipban-udp - [0:0]\n-A INPUT -p udp -m udp --dport 5060 -j sipban-udp\n\
             -A sipban-udp -s 192.0.2.1/32 -j DROP\n-A sipban-udp -s 198.51.100.0/24 -j DROP\n\
             -A sipban-udp -j RETURN\n",
        );
        let chain = listing.chain.unwrap();
        assert_eq!(chain.body.blocks, nets(&["192.0.2.1/32", "198.51.100.0/24"]));
        assert!(chain.returns_last && chain.strays.is_empty());
        assert_eq!((chain.doubles, chain.other_target), (0, 0));
        assert_eq!(listing.jumps, ["-p udp -m udp --dport 5060 -j sipban-udp"]);
        assert_eq!(listing.bypass, None);
    }

    #[test]
    fn all_that_can_be_wrong_with_a_chain_is_seen() {
        let chain = parse(
            "-A sipban-udp -s 192.0.2.1/32 -j REJECT --reject-with icmp-port-unreachable\n\
             -A sipban-udp -s 192.0.2.2/32 -j DROP\n-A sipban-udp -j RETURN\n\
             -A sipban-udp -s 192.0.2.2/32 -j DROP\n-A sipban-udp ! -s 192.0.2.3/32 -j DROP\n\
             -A sipban-udp -s 192.0.2.4/32 -p udp -j DROP\n-A sipban-udp -j DROP\n",
        );
        let chain = chain.chain.unwrap();
        assert_eq!(chain.body.blocks, nets(&["192.0.2.1/32", "192.0.2.2/32"]));
        assert_eq!((chain.doubles, chain.other_target), (1, 1));
        let strays = ["-j RETURN", "! -s 192.0.2.3/32 -j DROP", "-s 192.0.2.4/32 -p udp -j DROP", "-j DROP"];
        assert_eq!(chain.strays, strays);
        assert!(!chain.returns_last);
    }

    #[test]
    fn ipv6_sources_are_read() {
        let chain = parse("-A sipban-udp -s 2001:db8::1/128 -j DROP\n-A sipban-udp -s 2001:db8:0:1::/64 -j DROP\n");
        assert_eq!(chain.chain.unwrap().body.blocks, nets(&["2001:db8::1/128", "2001:db8:0:1::/64"]));
    }

    #[test]
    fn the_chains_of_the_shield_are_read_as_they_stand() {
        let listing = parse(
            ":sipban-udp-shed - [0:0]\n:sipban-udp-shield - [0:0]\n\
             -A sipban-udp -s 192.0.2.1/32 -j DROP\n-A sipban-udp -j sipban-udp-shield\n-A sipban-udp -j RETURN\n\
             -A sipban-udp-shield -s 192.0.2.7/32 -j RETURN\n-A sipban-udp-shield -p udp -j sipban-udp-measure\n",
        );
        let rules = ["-s 192.0.2.7/32 -j RETURN", "-p udp -j sipban-udp-measure"].map(str::to_owned).into();
        let shield = [("sipban-udp-shed".to_owned(), Vec::new()), ("sipban-udp-shield".to_owned(), rules)];
        assert_eq!(listing.shield, Rules::from(shield));
        let chain = listing.chain.unwrap();
        assert!(chain.body.shield && chain.returns_last && chain.strays.is_empty());
        assert!(listing.references.is_empty());
        let twice = parse("-A sipban-udp -j sipban-udp-shield\n-A sipban-udp -j sipban-udp-shield\n");
        assert_eq!(twice.chain.unwrap().strays, ["-j sipban-udp-shield"]);
    }

    #[test]
    fn what_lets_traffic_in_before_the_jump_is_a_bypass() {
        let before = |rule: &str| parse(&format!("-A INPUT {rule}\n-A INPUT -j sipban-udp\n")).bypass;
        for rule in ["-j ACCEPT", "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "! -i lo -j ACCEPT"] {
            assert_eq!(before(rule).as_deref(), Some(rule));
        }
        assert!(before("-p udp -j RETURN").is_some());
        assert!(before("-g other").is_some());
        for rule in ["-i lo -j ACCEPT", "-j ufw-before-input", "-s 192.0.2.1/32 -j DROP", "-p tcp"] {
            assert_eq!(before(rule), None, "{rule}");
        }
        assert_eq!(before(r#"-m comment --comment "to -j ACCEPT or \" -j ACCEPT" -j other"#), None);
        assert_eq!(parse("-A INPUT -j sipban-udp\n-A INPUT -j ACCEPT\n").bypass, None);
    }

    #[test]
    fn rules_of_others_that_lead_to_our_chain_are_told_apart() {
        let listing = parse(
            "-A INPUT -g sipban-udp\n-A FORWARD -j sipban-udp\n\
             -A FORWARD -m comment --comment \"not -j sipban-udp\" -j ACCEPT\n",
        );
        assert_eq!(listing.reference_to("sipban-udp"), Some("-A INPUT -g sipban-udp"));
        let rules: Vec<&str> = listing.references.iter().map(|(_, rule)| &rule[..]).collect();
        assert_eq!(rules, ["-A INPUT -g sipban-udp", "-A FORWARD -j sipban-udp"]);
        let listing =
            parse("-A INPUT -j sipban-udp-shed\n-A OTHER -g sipban-udp-measure\n-A sipban-udp-shed -j DROP\n");
        assert_eq!(listing.reference_to("sipban-udp-shed"), Some("-A INPUT -j sipban-udp-shed"));
        assert_eq!(listing.reference_to("sipban-udp-measure"), Some("-A OTHER -g sipban-udp-measure"));
        assert_eq!(listing.references.len(), 2);
        assert!(listing.jumps.is_empty());
    }

    #[test]
    fn packets_are_those_of_exactly_this_entry() {
        let text = "[9:90] -A INPUT -j c\n[3:30] -A c -s 192.0.2.0/24 -j DROP\n[5:50] -A c -s 192.0.2.1/32 -j DROP\n";
        assert_eq!(packets(text, "c", &net("192.0.2.1/32")), Some(5));
        assert_eq!(packets(text, "c", &net("192.0.2.0/24")), Some(3));
        assert_eq!(packets(text, "c", &net("192.0.2.2/32")), None);
    }

    #[test]
    fn the_rule_of_a_set_is_read_as_it_is_written() {
        let listing = parse("-A sipban-udp -m set --match-set sipban src -j DROP\n-A sipban-udp -j RETURN\n");
        let chain = listing.chain.unwrap();
        assert_eq!(chain.body.blocks, [Origin::Set("sipban".to_owned())]);
        assert_eq!(words::origin(&chain.body.blocks[0]), "-m set --match-set sipban src");
        assert!(chain.returns_last && chain.strays.is_empty());
        let strays =
            ["-m set --match-set sipban dst -j DROP", "-m set --match-set a src -m set --match-set b src -j X"];
        let text: String = strays.map(|rule| format!("-A sipban-udp {rule}\n")).concat();
        assert_eq!(parse(&text).chain.unwrap().strays, strays);
    }

    #[test]
    fn a_rule_of_the_perl_program_that_matches_our_set_is_a_leftover() {
        let leftover = |rule: &str| parse(&format!("-A INPUT {rule}\n")).leftovers;
        for rule in ["-i eno1 -m set --match-set sipban src -j DROP", "-m set --match-set sipban src -j REJECT"] {
            assert_eq!(leftover(rule), [rule]);
        }
        for rule in [
            "-m set --match-set sipban src -j ACCEPT",
            "-m set --match-set sipban dst -j DROP",
            "-m set ! --match-set sipban src -j DROP",
            "-m set --match-set other src -j DROP",
            "-m comment --comment \"--match-set sipban src\" -j DROP",
        ] {
            assert!(leftover(rule).is_empty(), "{rule}");
        }
        assert!(parse("-A FORWARD -m set --match-set sipban src -j DROP\n").leftovers.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_listing_is_too_strange_to_read(text in "(\\[1:2\\] )?(-A (INPUT|c) |:c )?([-!jgsi\"\\\\ acl]|ACCEPT|[0-9./:]){0,40}") {
            Listing::parse(&text, Place::Input, "c", &Names::of(&"c".parse().unwrap()), "-j DROP", Some("s"));
            packets(&text, "c", &net("192.0.2.1/32"));
        }
    }
}
