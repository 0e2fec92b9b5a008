//! PURE: what a hook is told of.

use std::fmt;

use ipnet::IpNet;

use crate::logging::escape;
use crate::model::block::Reason;
use crate::model::clock::UnixTime;
use crate::model::net::Plain;

/// Something that happened, told after the fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The kernel has taken a block.
    Block {
        /// Whom.
        net: IpNet,
        /// When it ends.
        end: UnixTime,
        /// Why.
        reason: Reason,
    },
    /// A block is gone.
    Unblock {
        /// Whom.
        net: IpNet,
        /// Why, as logged.
        why: &'static str,
    },
    /// The kernel has taken a block because other PBXs said so.
    FleetBlock {
        /// Whom.
        net: IpNet,
        /// When it ends.
        end: UnixTime,
        /// Who said so, with commas between.
        origins: String,
        /// Why.
        reason: Reason,
    },
    /// Such a block is gone.
    FleetUnblock {
        /// Whom.
        net: IpNet,
        /// Why, as logged.
        why: &'static str,
    },
    /// Rules were missing, and are back.
    Repair {
        /// Which.
        what: String,
    },
    /// The PBX itself is at fault, or no longer.
    Weather {
        /// As logged.
        text: String,
    },
    /// Asterisk is connected and sends no events although it should (true), or sends them again.
    Silence {
        /// Whether it does not.
        is_silent: bool,
        /// As logged.
        text: String,
    },
    /// The connection to Asterisk is there (true), or lost.
    Ami {
        /// Whether it is there.
        up: bool,
        /// Asterisk's greeting, or why it is not.
        text: String,
    },
}

impl Fact {
    /// What it is called, the first word of its line.
    pub fn name(&self) -> &'static str {
        match self {
            Fact::Block { .. } => "block",
            Fact::Unblock { .. } => "unblock",
            Fact::FleetBlock { .. } => "fleet-block",
            Fact::FleetUnblock { .. } => "fleet-unblock",
            Fact::Repair { .. } => "repair",
            Fact::Weather { .. } => "weather",
            Fact::Silence { is_silent: true, .. } => "ami-silent",
            Fact::Silence { is_silent: false, .. } => "ami-heard",
            Fact::Ami { up: true, .. } => "ami-up",
            Fact::Ami { up: false, .. } => "ami-down",
        }
    }

    /// The same as names and values, for the environment of a program.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![("SIPBAN_EVENT", self.name().to_owned())];
        match self {
            Fact::Block { net, end, reason } => {
                variables.push(("SIPBAN_ADDRESS", Plain(*net).to_string()));
                variables.push(("SIPBAN_END", end.0.to_string()));
                variables.push(("SIPBAN_REASON", reason.text().to_owned()));
            }
            Fact::FleetBlock { net, end, origins, reason } => {
                variables.push(("SIPBAN_ADDRESS", Plain(*net).to_string()));
                variables.push(("SIPBAN_END", end.0.to_string()));
                variables.push(("SIPBAN_ORIGIN", origins.clone()));
                variables.push(("SIPBAN_REASON", reason.text().to_owned()));
            }
            Fact::Unblock { net, why } | Fact::FleetUnblock { net, why } => {
                variables.push(("SIPBAN_ADDRESS", Plain(*net).to_string()));
                variables.push(("SIPBAN_REASON", (*why).to_owned()));
            }
            Fact::Repair { what: text }
            | Fact::Weather { text }
            | Fact::Silence { text, .. }
            | Fact::Ami { text, .. } => {
                variables.push(("SIPBAN_REASON", escape(text).to_string()));
            }
        }
        variables
    }
}

impl fmt::Display for Fact {
    /// One line: the name, an address, the end of its block (seconds since 1970) and who said so where there are some, and
    /// a text to the end. What others wrote is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self {
            Fact::Block { net, end, reason } => write!(f, "{name} {} {} {}", Plain(*net), end.0, reason.text()),
            Fact::FleetBlock { net, end, origins, reason } => {
                write!(f, "{name} {} {} {origins} {}", Plain(*net), end.0, reason.text())
            }
            Fact::Unblock { net, why } | Fact::FleetUnblock { net, why } => {
                write!(f, "{name} {} {why}", Plain(*net))
            }
            Fact::Repair { what: text }
            | Fact::Weather { text }
            | Fact::Silence { text, .. }
            | Fact::Ami { text, .. } => {
                write!(f, "{name} {}", escape(text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_one_line_whatever_others_wrote() {
        let net = "203.0.113.7/32".parse().unwrap();
        for (fact, line) in [
            (
                Fact::Block { net, end: UnixTime(1_764_107_815), reason: Reason::InvalidAccount },
                "block 203.0.113.7 1764107815 Invalid Account",
            ),
            (Fact::Unblock { net, why: "Timeout Unblock" }, "unblock 203.0.113.7 Timeout Unblock"),
            (
                Fact::FleetBlock { net, end: UnixTime(9), origins: "pbx1,pbx2".into(), reason: Reason::FailedAcl },
                "fleet-block 203.0.113.7 9 pbx1,pbx2 Failed ACL",
            ),
            (Fact::FleetUnblock { net, why: "Withdrawn" }, "fleet-unblock 203.0.113.7 Withdrawn"),
            (Fact::Repair { what: "jump in INPUT".into() }, "repair jump in INPUT"),
            (Fact::Weather { text: "PBX refuses".into() }, "weather PBX refuses"),
            (Fact::Silence { is_silent: true, text: "no event for 1500 s".into() }, "ami-silent no event for 1500 s"),
            (Fact::Ami { up: false, text: "gone\nblock ::1\0".into() }, "ami-down gone\\x0ablock ::1\\x00"),
        ] {
            assert_eq!(fact.to_string(), line);
            let words: Vec<String> = fact.variables().into_iter().map(|(_, value)| value).collect();
            assert!(words.iter().all(|word| line.contains(word.as_str())), "{words:?}");
        }
    }
}
