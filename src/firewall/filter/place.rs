//! Where in the way of a packet our chain stands.

use crate::file::of_network;
use crate::firewall::family::Family;
use crate::model::target::Target;

/// A table of iptables, and the chain in it that the kernel leads packets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::firewall) enum Place {
    /// `INPUT` of `filter`, where an administrator looks for it.
    Input,
    /// `PREROUTING` of `raw`, which comes before it and which no firewall is known to flush: for where another program
    /// undoes the jump in INPUT again and again.
    Raw,
}

impl Place {
    pub(super) fn table(self) -> &'static str {
        match self {
            Place::Input => "filter",
            Place::Raw => "raw",
        }
    }

    pub(super) fn hook(self) -> &'static str {
        match self {
            Place::Input => "INPUT",
            Place::Raw => "PREROUTING",
        }
    }

    /// What keeps a jump to the traffic that INPUT would see.
    pub(super) fn local(self) -> &'static str {
        match self {
            Place::Input => "",
            Place::Raw => "-m addrtype --dst-type LOCAL ",
        }
    }

    /// Whether the kernel has this table of the old kind.
    pub(super) fn has_legacy_table(self, family: Family) -> bool {
        let kind = match family {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        };
        let tables = std::fs::read_to_string(of_network(&format!("{kind}_tables_names"))).unwrap_or_default();
        tables.lines().any(|table| table == self.table())
    }

    /// What can become of a packet here: the kernel rejects in `filter` only.
    pub(super) fn target(self, wanted: Target) -> Target {
        match self {
            Place::Input => wanted,
            Place::Raw => Target::Drop,
        }
    }
}
