//! What is wrong with a configuration, as data that knows how to say itself.

use crate::failure::Failure;
use std::fmt;
use std::path::PathBuf;

/// Something about the configuration that does not keep it from holding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Everybody on this machine can read the secret.
    WorldReadable {
        /// The configuration file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another key has taken the place of this one, which is still read.
    Replaced {
        /// The configuration file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key that is given.
        old: &'static str,
        /// The key that has taken its place.
        new: &'static str,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::WorldReadable { file, mode } => {
                let file = file.display();
                write!(f, "{file}: holds a secret and everybody may read it (mode {mode:04o}); chmod o-rwx {file}")
            }
            Warning::Replaced { file, line, old, new } => {
                let file = file.display();
                write!(f, "{file}:{line}: {old}: addresses are no longer trusted as a whole; {new} takes its place")
            }
        }
    }
}

/// Everything that is wrong with a configuration file, in the order of its lines. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl From<ConfigErrors> for Failure {
    fn from(error: ConfigErrors) -> Failure {
        Failure::new(Failure::CONFIG, error)
    }
}

impl fmt::Display for ConfigErrors {
    /// A line an error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if n == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// One thing that is wrong with a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; `None` if something is missing, or if it is about the file.
    pub line: Option<usize>,
    /// `section.key` or `[section]`, if it is about one.
    pub key: Option<String>,
    /// What is wrong, and what to write instead.
    pub what: String,
}

impl fmt::Display for ConfigError {
    /// `FILE:LINE: KEY: what is wrong`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if let Some(key) = &self.key {
            write!(f, " {key}:")?;
        }
        write!(f, " {}", self.what)
    }
}
