//! Regular files, opened without ever waiting.
//!
//! Whoever opens a FIFO waits for its other end, perhaps for ever, and a device does what it likes. Neither is a file in
//! which anything is kept, whatever the configuration says.

use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

/// Opens a file for reading.
///
/// # Errors
/// If it cannot be opened, or is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    open_with(path, File::options().read(true))
}

/// Reads a file to its end.
///
/// # Errors
/// As [`open`], or if it cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file as `options` say.
///
/// # Errors
/// If it cannot be opened, or is no regular file.
pub fn open_with(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    open_flagged(path, options, OFlag::empty())
}

/// The same, but not what a symbolic link of that name leads to: for a file in a folder where others may put links.
///
/// # Errors
/// As [`open_with`], or if it is a symbolic link.
pub fn open_no_link(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_symlink() => Err(unfit("a symbolic link, which is not followed")),
        _ => open_flagged(path, options, OFlag::O_NOFOLLOW),
    }
}

/// The path of what the kernel tells of the network of this thread, such as `tcp`. Before Linux 3.17 it tells of that of the
/// process, which is the same but in tests.
pub fn of_network(name: &str) -> String {
    let thread = "/proc/thread-self/net";
    let folder = if Path::new(thread).exists() { thread } else { "/proc/self/net" };
    format!("{folder}/{name}")
}

/// Whether a file can stand at `path`: there is a regular file, or nothing.
///
/// # Errors
/// If there is anything else.
pub fn must_be_regular(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(there) => regular(there.file_type()),
        // What else there is to say, opening will say.
        Err(_) => Ok(()),
    }
}

fn open_flagged(path: &Path, options: &mut OpenOptions, flags: OFlag) -> io::Result<File> {
    // Before it is opened, which alone may do something to a device, and after, because it may have been replaced.
    must_be_regular(path)?;
    let flags = flags | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = options.custom_flags(flags.bits()).open(path)?;
    regular(file.metadata()?.file_type())?;
    Ok(file)
}

fn regular(kind: FileType) -> io::Result<()> {
    if kind.is_file() {
        return Ok(());
    }
    Err(unfit(match () {
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }))
}

fn unfit(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, format!("it is {what}; a regular file is needed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn what_is_no_regular_file_is_named_and_waited_for_by_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
        symlink(path("fifo"), path("link")).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        for (name, kind) in [("fifo", "a FIFO"), ("link", "a FIFO"), ("socket", "a socket"), ("", "a folder")] {
            for options in [File::options().read(true), File::options().append(true).create(true)] {
                let error = open_with(&path(name), options).unwrap_err().to_string();
                assert_eq!(error, format!("it is {kind}; a regular file is needed"), "{name}");
            }
        }
        assert!(read(Path::new("/dev/zero")).unwrap_err().to_string().contains("a device"));
        assert_eq!(open(&path("none")).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_link_is_followed_only_where_that_is_meant() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "text").unwrap();
        symlink(&file, &link).unwrap();
        assert_eq!(read(&link).unwrap(), b"text");
        let options = || File::options().read(true).write(true).create(true).clone();
        assert!(open_no_link(&link, &mut options()).unwrap_err().to_string().contains("a symbolic link"));
        symlink(folder.path().join("none"), folder.path().join("dangling")).unwrap();
        open_no_link(&folder.path().join("dangling"), &mut options()).unwrap_err();
        assert!(!folder.path().join("none").exists());
        open_no_link(&file, &mut options()).unwrap();
    }
}
