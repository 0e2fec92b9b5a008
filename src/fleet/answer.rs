//! What the server's answers mean.
//!
//! Forms as in the documentation of Redis 7 (protocol RESP2) for `XREAD`, `XINFO STREAM`, `ZRANGEBYSCORE`, `SCAN` and
//! `TIME`, and as measured on 7.0. An answer of another form is none.
//!
//! PURE: no clock, no I/O.

use redis::Value;

use crate::fleet::entry::{Entry, Live, Unfit};
use crate::fleet::place::{Id, Shown};

/// What one stream brought.
#[derive(Debug)]
pub struct Brought {
    /// The key of the stream.
    pub key: String,
    /// Its entries, in order.
    pub entries: Vec<(Id, Value)>,
}

/// The answer to `XREAD`; nothing if there was nothing new.
pub fn brought(answer: Value) -> Option<Vec<Brought>> {
    let streams = match answer {
        Value::Nil => return Some(Vec::new()),
        answer => list(answer)?,
    };
    let stream = |stream| {
        let [key, entries] = pair(stream)?;
        let entries = list(entries)?.into_iter().map(|entry| {
            let [id, fields] = pair(entry)?;
            Some((text(&id)?.parse().ok()?, fields))
        });
        Some(Brought { key: text(&key)?.to_owned(), entries: entries.collect::<Option<_>>()? })
    };
    streams.into_iter().map(stream).collect()
}

/// The fields of an entry of this origin.
///
/// # Errors
/// If it counts for nothing.
pub fn entry(origin: &str, fields: &Value) -> Result<Entry, Unfit> {
    let Value::Array(fields) = fields else { return Err(Unfit::Form) };
    let bytes: Vec<&[u8]> = fields.iter().map(bytes).collect::<Option<_>>().ok_or(Unfit::Form)?;
    Entry::read(origin, bytes.chunks_exact(2).map(|pair| (pair[0], pair[1])))
}

/// The answer to `XINFO STREAM`. Servers before Redis 7 do not tell how many entries there were in all.
pub fn shown(answer: Value) -> Option<Shown> {
    let mut shown = Shown::default();
    let mut added = None;
    let facts = list(answer)?;
    for fact in facts.chunks_exact(2) {
        match (text(&fact[0])?, &fact[1]) {
            ("length", value) => shown.kept = number(value)?,
            ("entries-added", value) => added = Some(number(value)?),
            ("last-generated-id", value) => shown.last = text(value)?.parse().ok()?,
            ("first-entry", Value::Array(first)) => shown.first = text(first.first()?)?.parse().ok(),
            _ => {}
        }
    }
    shown.added = added.unwrap_or(shown.kept);
    Some(shown)
}

/// The answer to `ZRANGEBYSCORE` with scores for the live blocks of this origin: each with its end, in seconds of the
/// server's time. What counts for nothing is left out.
pub fn set(origin: &str, answer: Value) -> Option<Vec<(Live, u64)>> {
    let members = list(answer)?;
    let live = |pair: &[Value]| {
        let end = text(&pair[1])?.parse::<f64>().ok().filter(|end| end.is_finite() && *end >= 0.0)?;
        Some((Live::read(origin, bytes(&pair[0])?).ok()?, end as u64))
    };
    Some(members.chunks_exact(2).filter_map(live).collect())
}

/// How many values an answer holds.
pub fn length(answer: &Value) -> usize {
    match answer {
        Value::Array(values) => values.len(),
        _ => 0,
    }
}

/// The answer to `SCAN`: where to go on, and the keys.
pub fn scanned(answer: Value) -> Option<(u64, Vec<String>)> {
    let [cursor, keys] = pair(answer)?;
    let keys = list(keys)?;
    Some((number(&cursor)?, keys.iter().filter_map(text).map(str::to_owned).collect()))
}

/// The answer to `TIME`, in milliseconds.
pub fn time(answer: Value) -> Option<u64> {
    let [seconds, micros] = pair(answer)?;
    Some(number(&seconds)?.saturating_mul(1_000).saturating_add(number(&micros)? / 1_000))
}

/// A text.
pub fn text(answer: &Value) -> Option<&str> {
    match answer {
        Value::SimpleString(text) => Some(text),
        answer => std::str::from_utf8(bytes(answer)?).ok(),
    }
}

fn bytes(answer: &Value) -> Option<&[u8]> {
    match answer {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

fn number(answer: &Value) -> Option<u64> {
    match answer {
        Value::Int(number) => u64::try_from(*number).ok(),
        answer => text(answer)?.parse().ok(),
    }
}

fn list(answer: Value) -> Option<Vec<Value>> {
    match answer {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

fn pair(answer: Value) -> Option<[Value; 2]> {
    list(answer)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use redis::parse_redis_value;

    fn value(text: &str) -> Value {
        parse_redis_value(text.replace('\n', "\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn entries_come_by_their_stream_and_what_is_no_entry_of_ours_is_told() {
        let read = "*1\n*2\n$17\nsipban:{main}:s:a\n*2\n*2\n$3\n5-0\n*6\n$1\nv\n$1\n1\n$2\nis\n$5\nwhole\n$1\nx\n$1\ny\n\
                    *2\n$3\n5-1\n*2\n$1\nv\n$1\n2\n";
        let streams = brought(value(read)).unwrap();
        assert_eq!(streams[0].key, "sipban:{main}:s:a");
        let entries = &streams[0].entries;
        assert_eq!(entries[1].0, Id { milliseconds: 5, number: 1 });
        assert_eq!(entry("a", &entries[0].1), Ok(Entry::Whole));
        assert_eq!(entry("a", &entries[1].1), Err(Unfit::Form));
        assert_eq!(brought(Value::Nil).unwrap().len(), 0);
    }

    #[test]
    fn a_server_that_does_not_count_its_entries_has_as_many_as_it_keeps() {
        let info = "*8\n$6\nlength\n:2\n$17\nlast-generated-id\n$3\n7-0\n$11\nfirst-entry\n*2\n$3\n5-0\n*0\n";
        let rest = "$13\nentries-added\n:9\n";
        let id = |milliseconds| Id { milliseconds, number: 0 };
        let expected = Shown { first: Some(id(5)), last: id(7), kept: 2, added: 9 };
        assert_eq!(shown(value(&format!("{info}{rest}"))), Some(expected));
        let before = info.replacen("*8", "*6", 1);
        assert_eq!(shown(value(&before)), Some(Shown { added: 2, ..expected }));
    }

    #[test]
    fn members_of_a_set_that_count_for_nothing_are_left_out() {
        let answer = "*6\n$21\n198.51.100.7|Whatever\n$5\n10.25\n$4\nnono\n$2\n10\n$13\n10.0.0.0/8|xx\n$2\n10\n";
        let live = set("a", value(answer)).unwrap();
        assert_eq!(live.len(), 1);
        assert_eq!(live[0].1, 10);
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes in proptest::collection::vec("[*$:+-]?[a-z0-9-]{0,5}\r\n", 0..20)) {
            if let Ok(value) = parse_redis_value(bytes.concat().as_bytes()) {
                let _ = (brought(value.clone()), shown(value.clone()), set("a", value.clone()));
                let _ = (scanned(value.clone()), time(value.clone()), entry("a", &value));
            }
        }
    }
}
