//! The white list file: what is never blocked, one entry a line. It is edited by hand and from the console, so
//! a change keeps every other byte of it.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use log::warn;

use crate::file;
use crate::model::net::NetOrHost;
use crate::state::durable::{self, Owner};

/// The white list and the file it stands in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhiteList {
    path: PathBuf,
    lines: Vec<Line>,
}

/// A line of the file that is passed over, or (without a number) what is to be told about the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: Option<usize>,
    /// What is wrong with it.
    pub what: String,
}

/// Why the white list could not be read or changed. The file and the list are as they were.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is there, but cannot be read.
    #[error("cannot read the white list {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the white list {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// What was to be added or removed is no entry.
    #[error("{0}")]
    Entry(String),
}

/// One line with its end; the last one may lack it. Bytes, because a comment may be in any encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    bytes: Vec<u8>,
    entry: Option<NetOrHost>,
}

impl WhiteList {
    /// Reads the file. Lines that are no entry are returned, the others hold. A file that is not there is an empty
    /// list, and named among them.
    ///
    /// # Errors
    /// If there is a file and it cannot be read.
    pub fn load(path: &Path) -> Result<(WhiteList, Vec<LineError>), Error> {
        let mut list = WhiteList { path: path.to_owned(), lines: Vec::new() };
        let error = |line, what| LineError { file: path.to_owned(), line, what };
        let bytes = match file::read(path) {
            Ok(bytes) => bytes,
            Err(source) if source.kind() == ErrorKind::NotFound => {
                return Ok((list, vec![error(None, "does not exist: the white list is empty".to_owned())]));
            }
            Err(source) => return Err(Error::Read { path: path.to_owned(), source }),
        };
        let mut errors = Vec::new();
        for (number, bytes) in (1..).zip(bytes.split_inclusive(|&b| b == b'\n')) {
            let entry = read_line(bytes).unwrap_or_else(|what| {
                errors.push(error(Some(number), what));
                None
            });
            list.lines.push(Line { bytes: bytes.to_owned(), entry });
        }
        Ok((list, errors))
    }

    /// The entries, in the order of the file, one that is there twice as often.
    pub fn entries(&self) -> impl Iterator<Item = &NetOrHost> {
        self.lines.iter().filter_map(|line| line.entry.as_ref())
    }

    /// Adds an entry at the end of the file, and takes over what else was changed in it by hand. Returns the entry,
    /// and whether it is new.
    ///
    /// # Errors
    /// If the text is no entry, or the file cannot be read or written.
    pub fn add(&mut self, text: &str) -> Result<(NetOrHost, bool), Error> {
        let entry: NetOrHost = text.parse().map_err(Error::Entry)?;
        let mut list = self.reread()?;
        let new = list.entries().all(|other| *other != entry);
        if new {
            list.append(&entry);
            list.save()?;
        }
        *self = list;
        Ok((entry, new))
    }

    /// Takes the lines of an entry out of the file, and takes over what else was changed in it by hand. Returns the
    /// entry, and whether it was there.
    ///
    /// # Errors
    /// If the text is no entry, or the file cannot be read or written.
    pub fn remove(&mut self, text: &str) -> Result<(NetOrHost, bool), Error> {
        let entry: NetOrHost = text.parse().map_err(Error::Entry)?;
        let mut list = self.reread()?;
        let before = list.lines.len();
        list.lines.retain(|line| line.entry.as_ref() != Some(&entry));
        let found = list.lines.len() < before;
        if found {
            list.save()?;
        }
        *self = list;
        Ok((entry, found))
    }

    /// Lines that are no entry were told when the list was loaded.
    fn reread(&self) -> Result<WhiteList, Error> {
        WhiteList::load(&self.path).map(|(list, _)| list)
    }

    fn append(&mut self, entry: &NetOrHost) {
        let crlf = self.lines.first().is_some_and(|line| line.bytes.ends_with(b"\r\n"));
        let end: &[u8] = if crlf { b"\r\n" } else { b"\n" };
        if let Some(last) = self.lines.last_mut().filter(|last| !last.bytes.ends_with(b"\n")) {
            last.bytes.extend(end);
        }
        let bytes = [entry.to_string().as_bytes(), end].concat();
        self.lines.push(Line { bytes, entry: Some(entry.clone()) });
    }

    fn save(&self) -> Result<(), Error> {
        let bytes: Vec<u8> = self.lines.iter().flat_map(|line| &line.bytes).copied().collect();
        let owner = durable::replace_like_old(&self.path, 0o644, |out| out.write_all(&bytes))
            .map_err(|source| Error::Write { path: self.path.clone(), source })?;
        if owner == Owner::Ours {
            let file = self.path.display();
            warn!("WHITE LIST => {file} belongs to the user of SIPban now, who may not give it back");
        }
        Ok(())
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.what)
    }
}

/// The entry of a line, without comment, white space, the end of the line and a byte order mark.
fn read_line(bytes: &[u8]) -> Result<Option<NetOrHost>, String> {
    let code = bytes.split(|b| matches!(b, b'#' | b';')).next().unwrap_or_default();
    let text = String::from_utf8_lossy(code);
    let text = text.trim_start_matches('\u{feff}').trim();
    match text.split_once(char::is_whitespace) {
        None if text.is_empty() => Ok(None),
        None => text.parse().map(Some),
        Some((first, _)) if first.parse::<NetOrHost>().is_ok() => {
            Err("text behind the entry: one entry a line, and # before a comment".to_owned())
        }
        Some(_) => text.parse().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipnet::IpNet;
    use proptest::prelude::*;
    use std::fs::{self, Permissions};
    use std::net::Ipv6Addr;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use tempfile::TempDir;

    /// A folder with a white list of this text.
    fn file(text: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sipban.wl");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn load(path: &Path) -> WhiteList {
        WhiteList::load(path).unwrap().0
    }

    fn shown(list: &WhiteList) -> Vec<String> {
        list.entries().map(NetOrHost::to_string).collect()
    }

    #[test]
    fn addresses_networks_and_names_are_read() {
        let text = "127.0.0.1\n10.1.2.3/16\n192.168.0.0/255.255.255.0\n2001:DB8::1\n2001:db8::1/48\n\
                    SIP.example.com.\n::ffff:192.0.2.1\n::ffff:192.0.2.0/120\n198.51.100.7/32\n";
        let (_folder, path) = file(text);
        let (list, errors) = WhiteList::load(&path).unwrap();
        assert_eq!(errors, []);
        assert_eq!(
            shown(&list),
            [
                "127.0.0.1",
                "10.1.0.0/16",
                "192.168.0.0/24",
                "2001:db8::1",
                "2001:db8::/48",
                "sip.example.com",
                "192.0.2.1",
                "192.0.2.0/24",
                "198.51.100.7",
            ]
        );
    }

    #[test]
    fn comments_in_any_encoding_spaces_and_windows_line_ends_do_no_harm() {
        let (_folder, path) = file(
            b"\xef\xbb\xbf# se\xf1al\r\n\r\n  192.0.2.1  \r\n192.0.2.2 # trunk de Espa\xf1a\r\n192.0.2.3;x\r\n\t\n192.0.2.4",
        );
        let (list, errors) = WhiteList::load(&path).unwrap();
        assert_eq!(errors, []);
        assert_eq!(shown(&list), ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]);
    }

    #[test]
    fn a_bad_line_is_named_and_the_rest_holds() {
        let (_folder, path) =
            file(b"192.0.2.1\n192.0.2.300\n10.0.0.0/33\n192.0.2.2 office\nfoo bar\n\xff\n192.0.2.3\n");
        let (list, errors) = WhiteList::load(&path).unwrap();
        assert_eq!(shown(&list), ["192.0.2.1", "192.0.2.3"]);
        let lines: Vec<_> = errors.iter().map(|error| error.line.unwrap()).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6]);
        assert_eq!(
            errors[0].to_string(),
            format!("{}:2: \"192.0.2.300\" is no address, network or host name", path.display())
        );
        assert!(errors[2].what.contains("# before a comment"), "{}", errors[2]);
    }

    #[test]
    fn no_file_is_an_empty_list_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sipban.wl");
        let (mut list, errors) = WhiteList::load(&path).unwrap();
        assert_eq!(list.entries().count(), 0);
        assert!(matches!(&errors[..], [LineError { line: None, .. }]), "{errors:?}");
        list.add("192.0.2.1").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "192.0.2.1\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let error = WhiteList::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&folder.path().display().to_string()), "{error}");
    }

    #[test]
    fn a_change_keeps_every_other_byte() {
        let text = b"# the PBX\r\n127.0.0.1\r\n\r\nnonsense here\r\n192.0.2.2 ; Espa\xf1a\r\n# end";
        let (_folder, path) = file(text);
        let mut list = load(&path);
        assert!(list.add("192.0.2.9/24").unwrap().1);
        assert_eq!(fs::read(&path).unwrap(), [&text[..], b"\r\n192.0.2.0/24\r\n"].concat());
        assert!(list.remove("192.0.2.0/255.255.255.0").unwrap().1);
        assert_eq!(fs::read(&path).unwrap(), [&text[..], b"\r\n"].concat());
        assert!(list.remove("192.0.2.2").unwrap().1);
        assert_eq!(fs::read(&path).unwrap(), b"# the PBX\r\n127.0.0.1\r\n\r\nnonsense here\r\n# end\r\n");
        assert_eq!(shown(&list), ["127.0.0.1"]);
    }

    #[test]
    fn an_entry_that_is_there_and_one_that_is_not_leave_the_file_alone() {
        let (folder, path) = file("192.0.2.1\n");
        let mut list = load(&path);
        let before = fs::metadata(&path).unwrap().ino();
        let entry = NetOrHost::Net("192.0.2.1/32".parse().unwrap());
        assert_eq!(list.add("192.0.2.1/32").unwrap(), (entry, false));
        assert!(!list.remove("192.0.2.2").unwrap().1);
        assert_eq!(fs::metadata(&path).unwrap().ino(), before);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_entry_is_refused_with_the_reason() {
        let (_folder, path) = file("192.0.2.1\n");
        let mut list = load(&path);
        for text in ["", "192.0.2.", "1.2.3.4/33", "a b", "x\n192.0.2.9", "fe80::1%eth0", "-x", "10.0.0.0/255.0.255.0"]
        {
            let error = list.add(text).unwrap_err();
            assert!(matches!(error, Error::Entry(_)), "{text}: {error}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "192.0.2.1\n");
    }

    #[test]
    fn what_was_changed_by_hand_since_is_kept_and_holds() {
        let (_folder, path) = file("192.0.2.1\n");
        let mut list = load(&path);
        fs::write(&path, "# by hand\n192.0.2.7\n").unwrap();
        list.add("192.0.2.8").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "# by hand\n192.0.2.7\n192.0.2.8\n");
        assert_eq!(shown(&list), ["192.0.2.7", "192.0.2.8"]);
    }

    #[test]
    fn mode_and_symbolic_link_stay_and_nothing_is_left_over() {
        let (folder, path) = file("192.0.2.1\n");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        fs::write(folder.path().join("sipban.wl.new"), "left by a power loss").unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let link = elsewhere.path().join("link");
        symlink(&path, &link).unwrap();
        load(&link).add("192.0.2.2").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "192.0.2.1\n192.0.2.2\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_owner_stays() {
        let (_folder, path) = file("192.0.2.1\n");
        if let Err(why) = std::os::unix::fs::chown(&path, Some(1234), Some(4321)) {
            assert!(std::env::var_os("CI").is_none(), "only root can tell: {why}");
            return;
        }
        load(&path).add("192.0.2.2").unwrap();
        let owner = fs::metadata(&path).unwrap();
        assert_eq!((owner.uid(), owner.gid()), (1234, 4321));
    }

    #[test]
    fn a_change_that_cannot_be_written_changes_nothing() {
        let (folder, path) = file("192.0.2.1\n");
        let mut list = load(&path);
        fs::create_dir(folder.path().join("sipban.wl.new")).unwrap();
        let error = list.add("192.0.2.2").unwrap_err();
        assert!(matches!(error, Error::Write { .. }), "{error}");
        assert_eq!(shown(&list), ["192.0.2.1"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "192.0.2.1\n");
    }

    #[test]
    fn the_sample_protects_this_machine() {
        let (_folder, path) = file(include_bytes!("../../conf/sipban.wl"));
        let (list, errors) = WhiteList::load(&path).unwrap();
        assert_eq!(errors, []);
        assert_eq!(shown(&list), ["127.0.0.1"]);
    }

    proptest! {
        #[test]
        fn no_line_panics_and_what_is_an_entry_reads_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(Some(entry)) = read_line(&bytes) {
                prop_assert_eq!(entry.to_string().parse(), Ok(entry));
            }
        }

        #[test]
        fn every_network_reads_back(bits in any::<u128>(), length in 0u8..=128) {
            let net = IpNet::new(Ipv6Addr::from(bits).into(), length).unwrap();
            let entry: NetOrHost = net.to_string().parse().unwrap();
            prop_assert_eq!(entry.to_string().parse(), Ok(entry));
        }
    }
}
