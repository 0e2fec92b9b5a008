//! What somebody wrote, as an error shows it.
//!
//! PURE: no clock, no I/O.

/// At most this many characters are shown.
const LONGEST: usize = 60;

/// The text in quotes, its control characters escaped, cut where it is of no more use.
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_and_what_commands_a_terminal_is_escaped() {
        assert_eq!(quoted("se\u{f1}al\x1b[2J"), "\"se\u{f1}al\\u{1b}[2J\"");
        assert_eq!(quoted(&"\u{f1}".repeat(60)), format!("\"{}\"", "\u{f1}".repeat(60)));
        assert_eq!(quoted(&"\u{f1}".repeat(61)), format!("\"{}\"...", "\u{f1}".repeat(60)));
    }
}
