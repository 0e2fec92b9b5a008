//! The last good copy of a list, on disk: what is in force after a restart, before any source has answered.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use crate::file;
use crate::model::clock::UnixTime;
use crate::model::net::Plain;
use crate::model::nets::Nets;
use crate::state::durable;

/// The first line of the file.
const FIRST: &str = "# SIPban: a list of others, version 1";

/// What is known of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// When the source last said that it holds.
    pub fetched: UnixTime,
    /// What the source calls this version of it.
    pub etag: Option<String>,
    /// When the source says that it was changed.
    pub modified: Option<String>,
    /// Where the next batch begins.
    pub id: Option<String>,
    /// What the source wants to be shown with it.
    pub notice: Option<String>,
    /// Its entries, but for those with ends of their own.
    pub nets: Arc<Nets>,
    /// Entries that end by themselves, and when.
    pub timed: BTreeMap<IpNet, UnixTime>,
}

impl Copy {
    /// Whether there is anything in it.
    pub fn is_empty(&self) -> bool {
        self.nets.is_empty() && self.timed.is_empty()
    }

    /// All entries at this time.
    pub fn entries(&self, now: UnixTime) -> Arc<Nets> {
        if self.timed.is_empty() {
            return Arc::clone(&self.nets);
        }
        let timed = self.timed.iter().filter(|(_, end)| **end > now).map(|(net, _)| *net);
        Arc::new(self.nets.iter().chain(timed).collect())
    }

    /// Takes in entries that end at `end`. There is room for `most` of those with an end; those that end first have to
    /// go for others. How many went.
    pub fn add_timed(&mut self, nets: Vec<IpNet>, end: UnixTime, most: usize) -> usize {
        self.timed.extend(nets.into_iter().map(|net| (net, end)));
        let surplus = self.timed.len().saturating_sub(most);
        if surplus > 0 {
            let mut ends: Vec<(UnixTime, IpNet)> = self.timed.iter().map(|(net, end)| (*end, *net)).collect();
            ends.sort_unstable();
            for (_, net) in ends.iter().take(surplus) {
                self.timed.remove(net);
            }
        }
        surplus
    }

    /// Reads the copy at `path` of the list that is at `source`; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read, is not one that was written here, or is of a list from elsewhere.
    pub fn read(path: &Path, source: &str, now: UnixTime) -> io::Result<Option<Copy>> {
        let bytes = match file::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let text = String::from_utf8(bytes).map_err(|_| io::Error::other("it is no text"))?;
        let mut copy = Copy::parse(&text, source).map_err(io::Error::other)?;
        // The clock may have been set back since.
        copy.fetched = copy.fetched.min(now);
        Ok(Some(copy))
    }

    /// Writes the copy of the list that is at `source`: the old one or the new one is there whatever happens.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path, source: &str) -> io::Result<()> {
        durable::replace(path, 0o600, |out| {
            out.write_all(self.head(source).as_bytes())?;
            self.nets.iter().try_for_each(|net| writeln!(out, "{}", Plain(net)))?;
            self.timed.iter().try_for_each(|(net, end)| writeln!(out, "{} {}", Plain(*net), end.0))?;
            writeln!(out, "# end")
        })
    }

    fn head(&self, source: &str) -> String {
        let mut text = format!("{FIRST}\n# source {source}\n# fetched {}\n", self.fetched.0);
        for (name, value) in
            [("etag", &self.etag), ("modified", &self.modified), ("id", &self.id), ("notice", &self.notice)]
        {
            if let Some(value) = value.as_ref().filter(|value| !value.contains(char::is_control)) {
                let _ = writeln!(text, "# {name} {value}");
            }
        }
        text
    }

    fn parse(text: &str, source: &str) -> Result<Copy, String> {
        let mut copy = Copy::default();
        let mut nets = Vec::new();
        let mut lines = text.lines();
        if lines.next() != Some(FIRST) {
            return Err("it is not a copy of a list that this version of SIPban has written".to_owned());
        }
        if lines.next().and_then(|line| line.strip_prefix("# source ")) != Some(source) {
            return Err("it is the copy of a list from elsewhere".to_owned());
        }
        for (number, line) in lines.enumerate() {
            let wrong = || format!("line {} is not as SIPban has written it", number + 3);
            if let Some(head) = line.strip_prefix("# ") {
                let (name, value) = head.split_once(' ').unwrap_or((head, ""));
                let value = value.to_owned();
                match name {
                    "fetched" => copy.fetched = UnixTime(value.parse().map_err(|_| wrong())?),
                    "etag" => copy.etag = Some(value),
                    "modified" => copy.modified = Some(value),
                    "id" => copy.id = Some(value),
                    "notice" => copy.notice = Some(value),
                    "end" => {
                        copy.nets = Arc::new(nets.into_iter().collect());
                        return Ok(copy);
                    }
                    _ => return Err(wrong()),
                }
                continue;
            }
            let (net, end) = line.split_once(' ').map_or((line, None), |(net, end)| (net, Some(end)));
            let Ok(Plain(net)) = net.parse() else { return Err(wrong()) };
            match end {
                None => nets.push(net),
                Some(end) => drop(copy.timed.insert(net, UnixTime(end.parse().map_err(|_| wrong())?))),
            }
        }
        Err("it has no end".to_owned())
    }
}

/// The file of the copy of a list, beside the journal.
pub fn path(journal: &Path, kind: &str, name: &str) -> PathBuf {
    durable::folder_of(journal).join(format!("{kind}-{name}.list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "https://list.example/a list";

    fn copy() -> Copy {
        let net = |text: &str| text.parse::<Plain>().unwrap().0;
        Copy {
            fetched: UnixTime(900),
            etag: Some("W/\"a b\"".to_owned()),
            modified: None,
            id: Some("17".to_owned()),
            notice: Some("(c) A".to_owned()),
            nets: Arc::new(["45.10.1.1", "45.10.2.0/24", "2a00:1::/64"].map(net).into_iter().collect()),
            timed: [(net("45.10.3.3"), UnixTime(1000)), (net("45.10.3.4"), UnixTime(2000))].into(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder.path().join("bans"), "feed", "x");
        assert_eq!(Copy::read(&path, HERE, UnixTime(1)).unwrap(), None);
        copy().write(&path, HERE).unwrap();
        assert_eq!(Copy::read(&path, HERE, UnixTime(1000)).unwrap(), Some(copy()));
        assert_eq!(Copy::read(&path, HERE, UnixTime(5)).unwrap().unwrap().fetched, UnixTime(5), "of the future");
    }

    #[test]
    fn the_copy_of_a_list_from_elsewhere_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder.path().join("bans"), "feed", "x");
        copy().write(&path, HERE).unwrap();
        for elsewhere in ["https://list.example/new", "https://list.example/", "/list", ""] {
            let why = Copy::read(&path, elsewhere, UnixTime(1000)).unwrap_err().to_string();
            assert_eq!(why, "it is the copy of a list from elsewhere", "{elsewhere}");
        }
    }

    #[test]
    fn an_entry_with_an_end_is_one_until_then() {
        assert_eq!(copy().entries(UnixTime(999)).len(), 5);
        assert_eq!(copy().entries(UnixTime(1000)).len(), 4);
    }

    #[test]
    fn what_ends_first_makes_room_for_what_is_new() {
        let hosts =
            |from: u8, to: u8| (from..to).map(|n| IpNet::from(std::net::IpAddr::from([45, 10, 1, n]))).collect();
        let mut copy = Copy::default();
        assert_eq!(copy.add_timed(hosts(0, 4), UnixTime(10), 8), 0);
        // Two are known, and end later now.
        assert_eq!(copy.add_timed(hosts(2, 8), UnixTime(20), 8), 0);
        assert_eq!(copy.add_timed(hosts(100, 103), UnixTime(30), 8), 3);
        let mut ends: Vec<u64> = copy.timed.values().map(|end| end.0).collect();
        ends.sort_unstable();
        assert_eq!(ends, [20, 20, 20, 20, 20, 30, 30, 30]);
        assert_eq!(copy.add_timed(hosts(200, 220), UnixTime(40), 8), 20, "more than there is room for");
        assert!(copy.timed.len() == 8 && copy.timed.values().all(|end| *end == UnixTime(40)));
    }

    #[test]
    fn a_file_that_is_not_whole_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("copy");
        copy().write(&file, HERE).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        for end in 0..text.len() - 1 {
            assert!(Copy::parse(&text[..end], HERE).is_err(), "{end}");
        }
        let why = Copy::parse(&text.replace("45.10.1.1\n", "45.10.1\n"), HERE).unwrap_err();
        assert!(why.starts_with("line 7 is not"), "{why}");
    }
}
