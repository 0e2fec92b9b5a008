//! Where lines of the log end up.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Error, journal};
use crate::config::{Config, LogTarget};
use crate::file;

/// Where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A regular file, appended to; made readable by owner and group if it is missing.
    File(PathBuf),
    /// Nowhere.
    Nowhere,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The journal of systemd that listens at this path; what it does not take goes to the file.
    Journal {
        /// Path of its socket.
        socket: PathBuf,
        /// Path of the file.
        file: PathBuf,
    },
}

impl Target {
    /// What `log.target` and `log.file` say.
    pub fn configured(config: &Config) -> Target {
        match config.log_target {
            LogTarget::File => Target::named(&config.log_file),
            LogTarget::Journal => Target::Journal { socket: journal::SOCKET.into(), file: config.log_file.clone() },
        }
    }

    /// What `log.file` names. The standard streams are those of this process and never opened by their names, which
    /// may stand for a socket or a FIFO; of all other devices, `/dev/null` alone cannot make anybody wait.
    pub fn named(path: &Path) -> Target {
        match path.to_str() {
            Some("/dev/stdout") => Target::Stdout,
            Some("/dev/stderr") => Target::Stderr,
            Some("/dev/null") => Target::Nowhere,
            _ => Target::File(path.to_owned()),
        }
    }

    /// Whether this is a standard stream.
    pub fn is_stream(&self) -> bool {
        matches!(self, Target::Stdout | Target::Stderr)
    }
}

/// What a [`Target`] was opened to.
#[derive(Debug)]
pub(super) enum Output {
    File(File),
    /// Opened when something is written.
    Later(Target),
    Nowhere,
    Stdout,
    Stderr,
}

impl Output {
    /// Opens the file, if it is one.
    ///
    /// # Errors
    /// If that fails, or it is no regular file.
    pub(super) fn open(target: Target) -> Result<Output, Error> {
        match target {
            Target::Stdout => Ok(Output::Stdout),
            Target::Stderr => Ok(Output::Stderr),
            Target::Journal { file, .. } => Ok(Output::Later(Target::named(&file))),
            Target::Nowhere => Ok(Output::Nowhere),
            Target::File(path) => file::open_with(&path, File::options().create(true).append(true).mode(0o640))
                .map(Output::File)
                .map_err(|source| Error::Open { path, source }),
        }
    }

    /// One `write`; returns how much of the bytes went.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Output::File(file) => file.write(bytes),
            Output::Later(target) => {
                *self = Output::open(target.clone()).map_err(io::Error::other)?;
                self.write(bytes)
            }
            Output::Nowhere => Ok(bytes.len()),
            Output::Stdout => io::stdout().write_all(bytes).map(|()| bytes.len()),
            Output::Stderr => io::stderr().write_all(bytes).map(|()| bytes.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;

    fn error(path: &Path) -> String {
        Output::open(Target::named(path)).unwrap_err().to_string()
    }

    #[test]
    fn a_log_that_cannot_be_opened_says_which_and_why() {
        let error = error(Path::new("/no/such/folder/sipban.log"));
        assert_eq!(
            error,
            "cannot open the log /no/such/folder/sipban.log: No such file or directory (os error 2) (log.file)"
        );
    }

    #[test]
    fn standard_streams_and_no_log_at_all_can_be_named_and_no_other_device() {
        assert_eq!(Target::named(Path::new("/dev/stdout")), Target::Stdout);
        assert_eq!(Target::named(Path::new("/dev/stderr")), Target::Stderr);
        let mut nowhere = Output::open(Target::named(Path::new("/dev/null"))).unwrap();
        assert_eq!(nowhere.write(b"lines").unwrap(), 5);
        assert!(error(Path::new("/dev/full")).contains("it is a device"));
        let folder = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&folder.path().join("fifo"), Mode::S_IRWXU).unwrap();
        assert!(error(&folder.path().join("fifo")).contains("it is a FIFO"));
    }
}
