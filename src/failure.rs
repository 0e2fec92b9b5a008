//! Why the program ends, and the exit status that says so.

use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Why the program ends, for its exit status and the last line on standard error.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// Exit status, as in `sysexits.h`.
    pub code: u8,
    /// What went wrong and what to do.
    pub text: String,
}

impl Failure {
    /// `EX_USAGE`: there is no such command line.
    pub const USAGE: u8 = 64;
    /// `EX_NOINPUT`: a file could not be read.
    pub const INPUT: u8 = 66;
    /// `EX_UNAVAILABLE`: something the program needs is not to be had.
    pub const UNAVAILABLE: u8 = 69;
    /// `EX_OSERR`: the system has no thread or signal to give.
    pub const SYSTEM: u8 = 71;
    /// `EX_CANTCREAT`: a file could not be made.
    pub const CANNOT_CREATE: u8 = 73;
    /// `EX_IOERR`: the output could not be written.
    pub const OUTPUT: u8 = 74;
    /// `EX_CONFIG`: the configuration is wrong.
    pub const CONFIG: u8 = 78;

    /// A failure with this exit status and this cause.
    pub fn new(code: u8, cause: impl ToString) -> Failure {
        Failure { code, text: cause.to_string() }
    }

    /// Says which file this is about.
    pub fn about(self, file: &Path) -> Failure {
        Failure { text: format!("{}: {}", file.display(), self.text), ..self }
    }
}

/// Writes `text`, which is `what`, to the output. A reader that has seen enough is no failure.
pub(crate) fn print(out: &mut dyn Write, text: &str, what: &str) -> Result<(), Failure> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Failure::OUTPUT, format!("cannot write {what}: {error}")))
        }
        _ => Ok(()),
    }
}

impl From<io::Error> for Failure {
    /// Input that cannot be read.
    fn from(error: io::Error) -> Failure {
        Failure::new(Failure::INPUT, error)
    }
}
