//! Logs and their rotations, and their lines, read in large pieces.

use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;

use crate::state::durable::folder_of;

/// Bytes of one read. A line may be as long; a longer one is none of ours.
const PIECE: usize = 256 * 1024;

/// The log `path` and its rotations, in no order: those named like it with a number or a date behind, gzipped or not.
///
/// # Errors
/// If its folder cannot be read.
pub(super) fn rotations(path: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(vec![path.to_owned()]) };
    let folder = folder_of(path);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?.file_name();
        if entry.to_str().and_then(|entry| entry.strip_prefix(name)).is_some_and(is_rotation) {
            found.push(folder.join(entry));
        }
    }
    // While a log is being compressed, it is there twice.
    let twice =
        |path: &PathBuf| path.extension().is_some_and(|end| end == "gz") && found.contains(&path.with_extension(""));
    Ok(found.iter().filter(|path| !twice(path)).cloned().collect())
}

/// What logrotate puts behind the name of a log: `.1`, `.2.gz`, `-20260101.gz`, `-2026-01-01`.
fn is_rotation(end: &str) -> bool {
    // Those packed in a way that we cannot read are found too: reading them then fails, so that nobody misses them.
    let packed = [".gz", ".xz", ".bz2", ".zst"].iter().find_map(|packing| end.strip_suffix(packing));
    let end = packed.unwrap_or(end);
    match end.strip_prefix(['.', '-']) {
        Some(number) => number.starts_with(|c: char| c.is_ascii_digit()) && number.chars().all(is_of_a_date),
        None => end.is_empty(),
    }
}

fn is_of_a_date(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '-' | '_' | '.' | ':' | 'T')
}

/// A log opened for reading, gunzipped if it is gzipped, whatever it is called; `-` is standard input. Bytes that
/// came from the file are added to `progress`.
///
/// # Errors
/// If it cannot be opened, or is packed in another way.
pub(super) fn open<'a>(path: &Path, progress: &'a AtomicU64) -> io::Result<Box<dyn Read + 'a>> {
    let mut file: Box<dyn Read> =
        if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    let mut start = Vec::new();
    file.by_ref().take(6).read_to_end(&mut start)?;
    let packed = [(&b"\xfd7zXZ\0"[..], "xz"), (b"BZh", "bzip2"), (b"\x28\xb5\x2f\xfd", "zstd")];
    if let Some((_, with)) = packed.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Err(io::Error::other(format!("is packed with {with}; unpack it, and give it by `| sipban stats -`")));
    }
    let gzipped = start.starts_with(b"\x1f\x8b");
    let counted = Counted { inner: Cursor::new(start).chain(file), progress };
    match gzipped {
        true => Ok(Box::new(MultiGzDecoder::new(BufReader::with_capacity(PIECE, counted)))),
        false => Ok(Box::new(counted)),
    }
}

/// Hands over line after line, without its LF; a line that is too long is handed over empty.
///
/// # Errors
/// If it cannot be read on. What came before was handed over.
pub(super) fn lines(mut log: impl Read, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let (mut filled, mut skipping) = (0, false);
    loop {
        let count = match log.read(&mut buffer[filled..]) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let unsearched = filled;
        filled += count;
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &buffer[unsearched..filled]).map(|at| unsearched + at) {
            if !std::mem::take(&mut skipping) {
                each(&buffer[start..end]);
            }
            start = end + 1;
        }
        if count == 0 {
            if filled > 0 && !skipping {
                each(&buffer[..filled]);
            }
            return Ok(());
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
        if filled == buffer.len() {
            if !skipping {
                each(b"");
            }
            (filled, skipping) = (0, true);
        }
    }
}

struct Counted<'a, R> {
    inner: R,
    progress: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.progress.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives as many bytes a read as it is told.
    struct Drops<'a>(&'a [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buffer.len());
            self.0.read(&mut buffer[..count])
        }
    }

    fn read(text: &[u8], size: usize) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        lines(Drops(text, size), |line| found.push(line.to_vec())).unwrap();
        found
    }

    #[test]
    fn rotations_are_told_from_other_files() {
        for end in ["", ".1", ".2.gz", ".3.xz", "-20260101", "-20260101.gz", "-2026-01-01_12:00", ".gz"] {
            assert!(is_rotation(end), "{end}");
        }
        for end in [".new", ".old.gz", "x", "1", "-", ".1.xz~", ".1.bak"] {
            assert!(!is_rotation(end), "{end}");
        }
    }

    #[test]
    fn a_log_that_is_being_compressed_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["sipban.log", "sipban.log.1", "sipban.log.1.gz", "sipban.log.2.gz", "sipban.log.new", "other.log"]
        {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let mut found = rotations(&folder.path().join("sipban.log")).unwrap();
        found.sort();
        assert_eq!(found, ["sipban.log", "sipban.log.1", "sipban.log.2.gz"].map(|name| folder.path().join(name)));
    }

    #[test]
    fn a_line_too_long_is_one_line_and_the_next_one_is_whole() {
        let mut text = vec![b'x'; 3 * PIECE + 7];
        text.extend_from_slice(b"\nshort\n");
        text.extend(vec![b'y'; 2 * PIECE]);
        assert_eq!(read(&text, usize::MAX), [&b""[..], b"short", b""]);
        assert_eq!(read(&text, 1000), [&b""[..], b"short", b""]);
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_are_read(text in "[ab\n]{0,60}", size in 1..20usize) {
            let whole = text.strip_suffix('\n').unwrap_or(&text);
            let expected: Vec<&[u8]> = whole.split('\n').map(str::as_bytes).collect();
            prop_assert_eq!(read(text.as_bytes(), size), if text.is_empty() { vec![] } else { expected });
        }
    }
}
