//! INI text to sections and pairs, line by line. Zero-copy: there are no escapes, so every value is a slice.
//!
//! A library that returns a map has lost what the administrator must be told: which line, and what stood there
//! twice. Reading is these few lines; agreement with a library on plain files is tested below.

/// What one line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// `[name]`
    Section(&'a str),
    /// `key = value`
    Pair(&'a str, Value<'a>),
}

/// The right side of a pair, without quotes and comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value<'a> {
    /// The value itself.
    pub(super) text: &'a str,
    /// What was taken for a comment may have been meant as a part of the value: unquoted with ` #` or ` ;` in it,
    /// or quoted with another quote behind the one that closed it. A secret must not be cut on a guess.
    pub(super) doubtful: bool,
}

/// The lines that say something, with their numbers from 1; an error says what is wrong with the line, and does
/// not quote it, for it may hold the secret.
pub(super) fn items(text: &str) -> impl Iterator<Item = (usize, Result<Item<'_>, &'static str>)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    (1..).zip(text.lines()).filter_map(|(number, line)| Some((number, item(line.trim()).transpose()?)))
}

fn item(line: &str) -> Result<Option<Item<'_>>, &'static str> {
    if is_comment(line) || line.is_empty() {
        return Ok(None);
    }
    if line.contains(|c: char| c.is_control() && c != '\t') {
        return Err("holds a control character");
    }
    if let Some(rest) = line.strip_prefix('[') {
        let (name, rest) = rest.split_once(']').ok_or("`[` without `]`")?;
        return match rest.trim_start() {
            rest if rest.is_empty() || is_comment(rest) => Ok(Some(Item::Section(name.trim()))),
            _ => Err("text behind `]`"),
        };
    }
    let (key, value) = line.split_once('=').ok_or("neither `[section]` nor `key = value`")?;
    Ok(Some(Item::Pair(key.trim_end(), read_value(value.trim_start())?)))
}

/// A quoted value ends at the first quote that ends the line or has a comment behind it; an unquoted one at the
/// first `#` or `;` after white space, so that `ge#tout` is a value.
fn read_value(text: &str) -> Result<Value<'_>, &'static str> {
    let Some(inner) = text.strip_prefix('"') else {
        let comment = text.char_indices().find(|&(at, _)| starts_comment(text, at));
        let end = comment.map_or(text.len(), |(at, _)| at);
        return Ok(Value { text: text[..end].trim_end(), doubtful: comment.is_some() });
    };
    inner
        .match_indices('"')
        .map(|(at, _)| (&inner[..at], &inner[at + 1..]))
        .find(|(_, rest)| rest.is_empty() || rest.starts_with(char::is_whitespace) && is_comment(rest.trim_start()))
        .map(|(text, rest)| Value { text, doubtful: rest.contains('"') })
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
    use proptest::prelude::*;

    fn value(text: &str) -> Result<&str, &'static str> {
        read_value(text).map(|value| value.text)
    }

    #[test]
    fn quotes_go_and_what_they_hold_stays() {
        assert_eq!(value(r#""5038""#), Ok("5038"));
        assert_eq!(value(r#""""#), Ok(""));
        assert_eq!(value(r#""-p udp --dport 5060""#), Ok("-p udp --dport 5060"));
        assert_eq!(value(r#"" ge #to;ut ""#), Ok(" ge #to;ut "));
        assert_eq!(value(r#""ge"tout""#), Ok("ge\"tout"));
        assert_eq!(value("\"ge\"#tout\""), Ok("ge\"#tout"));
    }

    #[test]
    fn a_comment_behind_a_value_goes() {
        assert_eq!(value("86400 # a day"), Ok("86400"));
        assert_eq!(value("86400\t; a day"), Ok("86400"));
        assert_eq!(value("# nothing"), Ok(""));
        assert_eq!(value(r#""DROP" # or REJECT"#), Ok("DROP"));
    }

    #[test]
    fn a_mark_without_a_space_before_it_is_no_comment() {
        assert_eq!(read_value("ge#to;ut"), Ok(Value { text: "ge#to;ut", doubtful: false }));
    }

    #[test]
    fn a_comment_that_may_be_a_part_of_the_value_is_doubtful() {
        assert!(read_value("ge #tout").unwrap().doubtful);
        assert!(read_value(r#""ge" #tout""#).unwrap().doubtful);
        assert!(!read_value(r#""ge #tout" # as in manager.conf"#).unwrap().doubtful);
    }

    #[test]
    fn a_quote_that_does_not_close_is_an_error() {
        for text in ["\"", "\"getout", "\"getout\" or not"] {
            assert!(value(text).is_err(), "{text}");
        }
    }

    #[test]
    fn mark_at_the_start_crlf_and_blank_lines_are_read_over() {
        let text = "\u{feff}[ami]\r\n\r\n  # user = x\r\nuser = a b\t\r\n[ control ] ; the console\n";
        let read: Vec<_> = items(text).map(|(line, item)| (line, item.unwrap())).collect();
        let user = Item::Pair("user", Value { text: "a b", doubtful: false });
        assert_eq!(read, [(1, Item::Section("ami")), (4, user), (5, Item::Section("control"))]);
    }

    #[test]
    fn lines_that_say_nothing_are_errors() {
        for line in ["[ami", "[ami] port = 1", "getout", "user = a\rSecret: b", "user = \0"] {
            let read: Vec<_> = items(line).collect();
            assert!(matches!(read[..], [(1, Err(_))]), "{line:?}: {read:?}");
        }
    }

    proptest! {
        /// On files without quotes and marks, all readers of INI agree.
        #[test]
        fn agrees_with_another_reader_on_plain_files(
            sections in proptest::collection::btree_map(
                "[a-z]{1,8}",
                proptest::collection::btree_map("[a-z_]{1,8}", "[a-zA-Z0-9/.,-]{1,12}", 0..5),
                0..5,
            ),
        ) {
            let mut text = String::new();
            for (section, pairs) in &sections {
                text += &format!("\n# about {section}\n[{section}]\n");
                pairs.iter().for_each(|(key, value)| text += &format!("{key}  = {value} \n"));
            }
            let theirs = configparser::ini::Ini::new().read(text.clone()).unwrap();
            let mut ours = std::collections::HashMap::new();
            let mut section = "";
            for (_, item) in items(&text) {
                match item.unwrap() {
                    Item::Section(name) => {
                        section = name;
                        ours.entry(section.to_owned()).or_insert_with(std::collections::HashMap::new);
                    }
                    Item::Pair(key, value) => {
                        ours.get_mut(section).unwrap().insert(key.to_owned(), Some(value.text.to_owned()));
                    }
                }
            }
            prop_assert_eq!(ours, theirs);
        }
    }
}
