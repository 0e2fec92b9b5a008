//! What a stranger wrote, made harmless: [`escape`] for the log, [`printable`] for a terminal.

use std::fmt::{self, Write};

/// At most this many characters of the original are shown in the log.
const LONGEST: usize = 120;

/// Text in which what commands a terminal, or turns the direction of writing, is made visible as `\u{1b}`. All else
/// stays as it is, whatever its language or length.
pub fn printable(text: &str) -> String {
    if !text.contains(is_command) {
        return text.to_owned();
    }
    text.chars().flat_map(|c| if is_command(c) { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Whether a character does something to a terminal instead of standing there: a control, or one that turns the
/// direction of writing or ends the line (Unicode's Bidi_Control, U+2028 and U+2029).
pub fn is_command(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Shows `text` in printable ASCII: everything else as `\x1b` or `\u{202e}`, a backslash doubled, so that it can
/// neither forge a line nor command a terminal nor turn the direction of writing. What exceeds 120 characters is
/// left out, marked by `...`.
pub fn escape(text: &str) -> Escaped<'_> {
    Escaped(text)
}

/// See [`escape`].
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        for c in chars.by_ref().take(LONGEST) {
            match c {
                '\\' => f.write_str("\\\\")?,
                ' '..='~' => f.write_char(c)?,
                c if c.is_ascii() => write!(f, "\\x{:02x}", u32::from(c))?,
                c => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            }
        }
        if chars.next().is_some() { f.write_str("...") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_terminals_and_directions_are_safe_and_plain_text_is_itself() {
        assert_eq!(escape("sip:100@pbx.example").to_string(), "sip:100@pbx.example");
        assert_eq!(escape("a\r\n[2019] BLOCK\x1b[2J\0").to_string(), r"a\x0d\x0a[2019] BLOCK\x1b[2J\x00");
        assert_eq!(escape("\u{202e}é\\x0d").to_string(), r"\u{202e}\u{e9}\\x0d");
    }

    #[test]
    fn on_a_terminal_only_what_commands_it_is_escaped() {
        assert_eq!(printable("Zürich, \u{2192} 東京"), "Zürich, \u{2192} 東京");
        assert_eq!(printable("a\u{1b}[2J\r\u{9b}b\u{202e}c\u{2028}"), r"a\u{1b}[2J\r\u{9b}b\u{202e}c\u{2028}");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_short_and_printable(text in "\\PC{0,300}|.{0,300}") {
            let shown = escape(&text).to_string();
            prop_assert!(shown.chars().all(|c| (' '..='~').contains(&c)));
            prop_assert!(shown.len() <= 10 * LONGEST + 3);
        }
    }
}
