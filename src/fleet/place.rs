//! How far a stream was read, and how to go on after a pause: what was said meanwhile must neither be missed nor be
//! made up.
//!
//! PURE: no clock, no I/O.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The ID of an entry. Its first part is the server's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Id {
    /// Milliseconds since 1970 by the server's clock.
    pub milliseconds: u64,
    /// Counts the entries of one millisecond.
    pub number: u64,
}

/// What the server says of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The oldest entry that is kept; `None` if none is.
    pub first: Option<Id>,
    /// The newest entry there ever was.
    pub last: Id,
    /// How many entries are kept.
    pub kept: u64,
    /// How many there were in all since the stream was made.
    pub added: u64,
}

/// How to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onward {
    /// Read from where we were: nothing is missing.
    Read,
    /// Entries are gone that were not read. The set of live blocks says what is so: what it lacks is blocked no more.
    CatchUp,
    /// This is not the stream that was read: the server lost it, or was given older data. What the set of live blocks
    /// holds counts, but what it lacks may only not be there again yet.
    Anew,
}

impl Shown {
    /// How to go on from the entry that was read last.
    pub fn onward(&self, read: Option<Id>) -> Onward {
        let Some(read) = read else { return Onward::Anew };
        if read > self.last {
            return Onward::Anew;
        }
        match self.first {
            _ if read == self.last => Onward::Read,
            Some(first) if read >= first => Onward::Read,
            // Had this been the same stream, the entry read would have been taken off its end.
            Some(_) if self.added == self.kept => Onward::Anew,
            _ => Onward::CatchUp,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.number)
    }
}

impl FromStr for Id {
    type Err = ();

    fn from_str(text: &str) -> Result<Id, ()> {
        let (milliseconds, number) = text.split_once('-').ok_or(())?;
        let part = |text: &str| text.parse().map_err(|_| ());
        Ok(Id { milliseconds: part(milliseconds)?, number: part(number)? })
    }
}

impl From<Id> for String {
    fn from(id: Id) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for Id {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Id, &'static str> {
        text.parse().map_err(|()| "no ID of an entry")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(milliseconds: u64) -> Id {
        Id { milliseconds, number: 0 }
    }

    fn shown(first: u64, last: u64, kept: u64, added: u64) -> Shown {
        Shown { first: (first > 0).then(|| id(first)), last: id(last), kept, added }
    }

    #[test]
    fn nothing_is_missing_while_the_entry_read_last_is_kept() {
        let stream = shown(100, 200, 11, 11);
        for read in [100, 150, 200] {
            assert_eq!(stream.onward(Some(id(read))), Onward::Read);
        }
        // Trimmed to nothing, but all was read before.
        assert_eq!(shown(0, 200, 0, 11).onward(Some(id(200))), Onward::Read);
    }

    #[test]
    fn entries_that_were_trimmed_unread_are_caught_up_with() {
        assert_eq!(shown(100, 200, 11, 30).onward(Some(id(50))), Onward::CatchUp);
        assert_eq!(shown(0, 200, 0, 30).onward(Some(id(50))), Onward::CatchUp);
    }

    #[test]
    fn a_stream_that_was_lost_is_told_from_one_that_was_trimmed() {
        // Empty server, the new stream not yet as far as the old one, or already farther.
        assert_eq!(shown(100, 110, 2, 2).onward(Some(id(500))), Onward::Anew);
        assert_eq!(shown(600, 610, 2, 2).onward(Some(id(500))), Onward::Anew);
        // A copy of yesterday.
        assert_eq!(shown(100, 400, 31, 50).onward(Some(id(500))), Onward::Anew);
        assert_eq!(shown(100, 400, 31, 50).onward(None), Onward::Anew);
    }

    #[test]
    fn ids_are_written_as_the_server_does_and_ordered_by_both_parts() {
        let id = Id { milliseconds: 1_526_919_030_474, number: 55 };
        assert_eq!("1526919030474-55".parse(), Ok(id));
        assert_eq!(id.to_string(), "1526919030474-55");
        assert!(id < Id { number: 100, ..id } && id < Id { milliseconds: id.milliseconds + 1, number: 0 });
        for text in ["", "1", "-", "1-", "-1", "a-b", "1-2-3", "18446744073709551616-0"] {
            assert_eq!(text.parse::<Id>(), Err(()), "{text}");
        }
    }
}
