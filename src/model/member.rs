//! Names of the members of a fleet.
//!
//! PURE: no clock, no I/O.

/// The origin whose word needs no other's: it may name networks and pardons. No PBX has this name.
pub const ADMIN: &str = "admin";

/// At most this many characters has the name of a member or of a group.
pub const MOST_NAME: usize = 32;

/// Whether this can be the name of a member or of a group: letters, digits, `_`, `-` and `.`.
pub fn is_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    matches!(text.len(), 1..=MOST_NAME) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_nothing_that_a_pattern_or_a_command_takes_for_its_own() {
        for name in ["pbx1", "PBX_1", "a-b.c"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a b", "a*", "a:b", "{a}", "ä", "a\n", "[a]", "a?", "\\"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
