//! The address families, each of which has rules and sets of its own.

use ipnet::IpNet;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const BOTH: [Family; 2] = [Family::V4, Family::V6];

    pub(super) fn name(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }

    /// The name of this family's set, given that of IPv4.
    pub(super) fn set_name(self, name: &str) -> String {
        match self {
            Family::V4 => name.to_owned(),
            Family::V6 => format!("{name}6"),
        }
    }

    /// The name of this family's set of those who are no strangers, given that of the blocks.
    pub(super) fn admitted_set_name(self, name: &str) -> String {
        let digit = if self == Family::V4 { 4 } else { 6 };
        format!("{name}-admitted{digit}")
    }

    pub(super) fn of(net: &IpNet) -> Family {
        match net {
            IpNet::V4(_) => Family::V4,
            IpNet::V6(_) => Family::V6,
        }
    }

    /// Those of this family.
    pub(super) fn only(self, nets: impl Iterator<Item = IpNet>) -> impl Iterator<Item = IpNet> {
        nets.filter(move |net| Family::of(net) == self)
    }
}
