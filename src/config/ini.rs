//! INI text to sections and pairs, line by line.
//!
//! The crate `configparser` reads each line. What it does not know is here: the number of the line, which an
//! administrator must be told, quotes around a value, and where a comment behind a value begins.

use configparser::ini::{Ini, IniDefault};

/// What one line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// `[name]`
    Section(String),
    /// `key = value`
    Pair(String, Value),
}

/// The right side of a pair, without quotes and comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// The value itself.
    pub(super) text: String,
    /// What was taken for a comment may have been meant as a part of the value: unquoted with ` #` or ` ;` in it,
    /// or quoted with another quote behind the one that closed it. A secret must not be cut on a guess.
    pub(super) doubtful: bool,
}

/// The lines that say something, with their numbers from 1; an error says what is wrong with the line, and does
/// not quote it, for it may hold the secret.
pub(super) fn items(text: &str) -> impl Iterator<Item = (usize, Result<Item, &'static str>)> {
    let mut reader = reader();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    (1..).zip(text.lines()).filter_map(move |(number, line)| Some((number, item(&mut reader, line).transpose()?)))
}

/// Both kinds of comment lines, `=` only, and names as they were written. It would cut a comment behind a value at the
/// first mark, in the middle of a secret too, so it must know of none.
fn reader() -> Ini {
    let mut rules = IniDefault::default();
    rules.comment_symbols = vec!['#', ';'];
    rules.enable_inline_comments = false;
    rules.delimiters = vec!['='];
    rules.case_sensitive = true;
    Ini::new_from_defaults(rules)
}

fn item(reader: &mut Ini, line: &str) -> Result<Option<Item>, &'static str> {
    let line = line.trim();
    let bare = if line.starts_with('[') { without_rest(line)? } else { line };
    // The library's own words may quote the line.
    let read = reader.read(bare.to_owned()).map_err(|_| NEITHER)?;
    // The section that a line opens is empty yet; a pair stands in that of the library's default.
    let Some((section, pairs)) = read.into_iter().next() else { return Ok(None) };
    if line.contains(|c: char| c.is_control() && c != '\t') {
        return Err("holds a control character");
    }
    match pairs.into_iter().next() {
        None => Ok(Some(Item::Section(section))),
        Some((key, Some(value))) => Ok(Some(Item::Pair(key, unquoted(&value)?))),
        Some((_, None)) => Err(NEITHER),
    }
}

const NEITHER: &str = "neither `[section]` nor `key = value`";

/// The line of a section up to its `]`. The library takes the last one for its end, and passes over what follows.
fn without_rest(line: &str) -> Result<&str, &'static str> {
    let (section, rest) = line.split_once(']').ok_or("`[` without `]`")?;
    match rest.trim_start() {
        rest if rest.is_empty() || is_comment(rest) => Ok(&line[..=section.len()]),
        _ => Err("text behind `]`"),
    }
}

/// A quoted value ends at the first quote that ends the line or has a comment behind it; an unquoted one at the
/// first `#` or `;` after white space, so that `ge#tout` is a value.
fn unquoted(text: &str) -> Result<Value, &'static str> {
    let value = |text: &str, doubtful| Value { text: text.to_owned(), doubtful };
    let Some(inner) = text.strip_prefix('"') else {
        let comment = text.char_indices().find(|&(at, _)| starts_comment(text, at));
        let end = comment.map_or(text.len(), |(at, _)| at);
        return Ok(value(text[..end].trim_end(), comment.is_some()));
    };
    inner
        .match_indices('"')
        .map(|(at, _)| (&inner[..at], &inner[at + 1..]))
        .find(|(_, rest)| rest.is_empty() || rest.starts_with(char::is_whitespace) && is_comment(rest.trim_start()))
        .map(|(text, rest)| value(text, rest.contains('"')))
        .ok_or("`\"` without a closing `\"` at the end")
}

fn starts_comment(text: &str, at: usize) -> bool {
    is_comment(&text[at..]) && (at == 0 || text[..at].ends_with(char::is_whitespace))
}

fn is_comment(text: &str) -> bool {
    text.starts_with(['#', ';'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<String, &'static str> {
        unquoted(text).map(|value| value.text)
    }

    #[test]
    fn quotes_go_and_what_they_hold_stays() {
        assert_eq!(value(r#""5038""#).as_deref(), Ok("5038"));
        assert_eq!(value(r#""""#).as_deref(), Ok(""));
        assert_eq!(value(r#""-p udp --dport 5060""#).as_deref(), Ok("-p udp --dport 5060"));
        assert_eq!(value(r#"" ge #to;ut ""#).as_deref(), Ok(" ge #to;ut "));
        assert_eq!(value(r#""ge"tout""#).as_deref(), Ok("ge\"tout"));
        assert_eq!(value("\"ge\"#tout\"").as_deref(), Ok("ge\"#tout"));
    }

    #[test]
    fn a_comment_behind_a_value_goes() {
        assert_eq!(value("86400 # a day").as_deref(), Ok("86400"));
        assert_eq!(value("86400\t; a day").as_deref(), Ok("86400"));
        assert_eq!(value("# nothing").as_deref(), Ok(""));
        assert_eq!(value(r#""DROP" # or REJECT"#).as_deref(), Ok("DROP"));
    }

    #[test]
    fn a_mark_without_a_space_before_it_is_no_comment() {
        assert_eq!(unquoted("ge#to;ut"), Ok(Value { text: "ge#to;ut".to_owned(), doubtful: false }));
    }

    #[test]
    fn a_comment_that_may_be_a_part_of_the_value_is_doubtful() {
        assert!(unquoted("ge #tout").unwrap().doubtful);
        assert!(unquoted(r#""ge" #tout""#).unwrap().doubtful);
        assert!(!unquoted(r#""ge #tout" # as in manager.conf"#).unwrap().doubtful);
    }

    #[test]
    fn a_quote_that_does_not_close_is_an_error() {
        for text in ["\"", "\"getout", "\"getout\" or not"] {
            assert!(value(text).is_err(), "{text}");
        }
    }

    #[test]
    fn mark_at_the_start_crlf_and_blank_lines_are_read_over() {
        let text = "\u{feff}[ami];]\r\n\r\n  # user = x\r\nuser = a b\t\r\n[ control ] ; the console\n";
        let read: Vec<_> = items(text).map(|(line, item)| (line, item.unwrap())).collect();
        let user = Item::Pair("user".to_owned(), Value { text: "a b".to_owned(), doubtful: false });
        let section = |name: &str| Item::Section(name.to_owned());
        assert_eq!(read, [(1, section("ami")), (4, user), (5, section("control"))]);
    }

    #[test]
    fn lines_that_say_nothing_are_errors() {
        for line in
            ["[ami", "[ami] port = 1", "[ami] port = [1]", "getout", "= getout", "user = a\rSecret: b", "user = \0"]
        {
            let read: Vec<_> = items(line).collect();
            assert!(matches!(read[..], [(1, Err(_))]), "{line:?}: {read:?}");
        }
    }

    #[test]
    fn a_colon_a_bracket_or_an_indent_is_a_part_of_the_line_it_stands_in() {
        let text = "  path = /a:b\n\tpass = [x]=y\nhost: name = z\n";
        let read: Vec<_> = items(text).map(|(_, item)| item.unwrap()).collect();
        let pair = |key: &str, text: &str| Item::Pair(key.to_owned(), Value { text: text.to_owned(), doubtful: false });
        assert_eq!(read, [pair("path", "/a:b"), pair("pass", "[x]=y"), pair("host: name", "z")]);
    }
}
