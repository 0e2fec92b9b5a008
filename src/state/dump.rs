//! The file of `flush`, `save` and `restore`.
//!
//! A block a line: `address,unix time of the end,reason`, for a network `203.0.113.0/24,TIME,REASON`; `#` starts a
//! comment line. Dumps of the Perl program have no reason, its oldest ones no time either; both are read.
//!
//! The Perl program can restore our dumps too: it looks at the first two fields only. It takes any IPv4 address that it
//! finds, in comments too, so that our comments hold none, and of a network only the first address.

use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use crate::file;
use crate::logging::{escape, local_time};
use crate::model::block::{BlockLine, Reason};
use crate::model::clock::UnixTime;
use crate::model::net::Plain;
use crate::model::net::is_too_wide;
use crate::state::durable;
use crate::state::lines::{Problems, each_line};

/// What a dump holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dump {
    /// Its blocks in the order of the file, those that have ended too.
    pub blocks: Vec<BlockLine>,
    /// Lines that are no block and no comment, in words; at most [`MOST_PROBLEMS`], then their number.
    pub problems: Vec<String>,
}

/// Why a dump could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such file.
    #[error("there is no dump file {}", .0.display())]
    Missing(PathBuf),
    /// The system refused.
    #[error("cannot {doing} the dump {}: {source}", path.display())]
    Io {
        /// `read` or `write`.
        doing: &'static str,
        /// Path of the dump.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// At most this many damaged lines are described one by one.
pub const MOST_PROBLEMS: usize = 20;

/// The longest line that is read, in bytes. Ours have at most about 80.
const LONGEST_LINE: u64 = 1024;

/// No block ends later than this many seconds after one made now: ten years. A time in milliseconds would be for ever.
const FARTHEST: u64 = 315_360_000;

/// Writes a dump readable by its owner alone. It is there as a whole, and on the disk, or not at all.
///
/// # Errors
/// If it cannot be written; an older dump is then untouched.
pub fn write(path: &Path, blocks: &[BlockLine], now: UnixTime) -> Result<(), Error> {
    durable::replace(path, 0o600, |out| {
        writeln!(out, "# [{}]", local_time(now))?;
        blocks.iter().try_for_each(|block| writeln!(out, "{},{},{}", Plain(block.net), block.end.0, block.reason))
    })
    .map_err(|source| Error::Io { doing: "write", path: path.into(), source })
}

/// Reads a dump, ours or one of the Perl program. A line without a time ends at `unless_told`, one without a known
/// reason is [`Reason::Adopted`].
///
/// # Errors
/// If there is no dump or it cannot be read. Damaged lines are no error, but [`Dump::problems`].
pub fn read(path: &Path, unless_told: UnixTime) -> Result<Dump, Error> {
    let file = file::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing(path.into()),
        _ => Error::Io { doing: "read", path: path.into(), source },
    })?;
    parse(BufReader::new(file), unless_told).map_err(|source| Error::Io { doing: "read", path: path.into(), source })
}

fn parse(input: impl BufRead, unless_told: UnixTime) -> io::Result<Dump> {
    let mut blocks = Vec::new();
    let mut problems = Problems::at_most(MOST_PROBLEMS);
    // Of an over-long line each piece is damaged.
    each_line(input, LONGEST_LINE, |number, line| {
        let text = String::from_utf8_lossy(line);
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            return;
        }
        match parse_line(text, unless_told) {
            Ok(block) => blocks.push(block),
            Err(why) => problems.add(|| format!("line {number}: \"{}\": {why}", escape(text))),
        }
    })?;
    Ok(Dump { blocks, problems: problems.told() })
}

fn parse_line(line: &str, unless_told: UnixTime) -> Result<BlockLine, &'static str> {
    let mut fields = line.split(',').map(str::trim);
    let address = fields.next().unwrap_or_default();
    let Plain(net) = address.parse().map_err(|()| "no address or network")?;
    if is_too_wide(&net) {
        return Err("the network is too wide to block");
    }
    let end = match fields.next() {
        None => unless_told,
        Some(time) => UnixTime(time.parse().map_err(|_| "the end is no unix time")?),
    };
    if end.since(unless_told) > FARTHEST {
        return Err("the end is too far in the future");
    }
    let reason = fields.next().and_then(|reason| reason.parse().ok()).unwrap_or(Reason::Adopted);
    Ok(BlockLine { net, end, reason, origin: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::net::IpAddr;
    use std::os::unix::fs::PermissionsExt;

    const LATER: UnixTime = UnixTime(2_000_000_000);

    fn block(net: &str, end: u64, reason: Reason) -> BlockLine {
        BlockLine { net: net.parse().unwrap(), end: UnixTime(end), reason, origin: None }
    }

    #[test]
    fn dumps_of_the_perl_program_are_read_old_and_new() {
        let text = "# [2019-06-12 12:01:55]\n221.121.138.167,1560427315\r\n\n77.247.110.158\n";
        let dump = parse(text.as_bytes(), LATER).unwrap();
        let expected = [
            block("221.121.138.167/32", 1_560_427_315, Reason::Adopted),
            block("77.247.110.158/32", LATER.0, Reason::Adopted),
        ];
        assert_eq!(dump, Dump { blocks: expected.into(), problems: vec![] });
    }

    #[test]
    fn damaged_lines_are_named_and_the_others_read() {
        let text = b"203.0.113.0/24,1560427315,Failed ACL\n\xff\x1b[31m,5\n192.0.2.1,soon\n192.0.2.2,7,Manual block";
        let dump = parse(&text[..], LATER).unwrap();
        assert_eq!(
            dump.blocks,
            [block("203.0.113.0/24", 1_560_427_315, Reason::FailedAcl), block("192.0.2.2/32", 7, Reason::Manual)]
        );
        assert_eq!(
            dump.problems,
            [
                r#"line 2: "\u{fffd}\x1b[31m,5": no address or network"#,
                r#"line 3: "192.0.2.1,soon": the end is no unix time"#
            ]
        );
    }

    #[test]
    fn what_the_console_would_not_block_is_not_restored() {
        let text = "8000::/1,7\n128.0.0.0/1,7\n192.0.2.1,1560427315000\n::ffff:192.0.2.2,7\n10.0.0.0/8,2000000001\n";
        let dump = parse(text.as_bytes(), LATER).unwrap();
        let expected = [block("192.0.2.2/32", 7, Reason::Adopted), block("10.0.0.0/8", LATER.0 + 1, Reason::Adopted)];
        assert_eq!(dump.blocks, expected);
        assert_eq!(
            dump.problems,
            [
                r#"line 1: "8000::/1,7": the network is too wide to block"#,
                r#"line 2: "128.0.0.0/1,7": the network is too wide to block"#,
                r#"line 3: "192.0.2.1,1560427315000": the end is too far in the future"#,
            ]
        );
    }

    #[test]
    fn a_file_that_is_no_dump_gives_a_bounded_number_of_problems() {
        let dump = parse("nonsense\n".repeat(10_000).as_bytes(), LATER).unwrap();
        assert_eq!(dump.problems.len(), MOST_PROBLEMS + 1);
        assert_eq!(dump.problems[MOST_PROBLEMS], "and 9980 more damaged lines");
    }

    #[test]
    fn a_written_dump_reads_as_the_perl_program_expects_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dump");
        let blocks = [
            block("221.121.138.167/32", 1_560_427_315, Reason::InvalidAccount),
            block("2001:db8::/64", 1_560_427_316, Reason::Manual),
        ];
        write(&path, &blocks, UnixTime(1_560_340_915)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("# [2019-06-1"), "{text}");
        assert_eq!(lines[1..], ["221.121.138.167,1560427315,Invalid Account", "2001:db8::/64,1560427316,Manual block"]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_missing_dump_is_told_from_an_unreadable_one() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(&folder.path().join("dump"), LATER), Err(Error::Missing(_))));
        assert!(matches!(read(folder.path(), LATER), Err(Error::Io { .. })));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            blocks in proptest::collection::vec((any::<IpAddr>(), 16u8..=32, ..=LATER.0, 0..Reason::ALL.len()), 0..30),
        ) {
            let blocks: Vec<BlockLine> = blocks.into_iter().map(|(address, len, end, reason)| BlockLine {
                net: format!("{address}/{len}").parse::<Plain>().unwrap().0, end: UnixTime(end), reason: Reason::ALL[reason], origin: None,
            }).collect();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("dump");
            write(&path, &blocks, UnixTime(0)).unwrap();
            prop_assert_eq!(read(&path, LATER).unwrap(), Dump { blocks, problems: vec![] });
        }

        #[test]
        fn no_bytes_upset_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            parse(&bytes[..], LATER).unwrap();
        }
    }
}
