//! What a stranger wrote, made harmless.

use std::fmt::{self, Write};

/// Longest shown part, in characters of the original.
const LONGEST: usize = 120;

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

    proptest! {
        #[test]
        fn whatever_comes_is_short_and_printable(text in "\\PC{0,300}|.{0,300}") {
            let shown = escape(&text).to_string();
            prop_assert!(shown.chars().all(|c| (' '..='~').contains(&c)));
            prop_assert!(shown.len() <= 10 * LONGEST + 3);
        }
    }
}
