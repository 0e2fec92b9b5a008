//! The configuration as far as a command may know it, for commands that can do without it.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::cli::CONFIG;
use crate::config::{Config, ConfigErrors};
use crate::file;

/// What is known of the configuration.
pub(super) struct Known {
    /// The configuration, or its defaults.
    pub(super) config: Config,
    /// Why it is the defaults, if it is: which file cannot be read, and why.
    pub(super) unread: Option<String>,
}

/// Reads the file. The defaults hold where this user may not read it, since it holds a secret that is root's, and where
/// the usual one is not there.
///
/// # Errors
/// If it is wrong, or another than the usual one and not there.
pub(super) fn known(path: &Path) -> Result<Known, ConfigErrors> {
    match file::open(path) {
        Err(error) if may_be_unread(path, &error) => {
            Ok(Known { config: Config::default(), unread: Some(format!("{} cannot be read: {error}", path.display())) })
        }
        _ => Config::load(path).map(|(config, _)| Known { config, unread: None }),
    }
}

fn may_be_unread(path: &Path, error: &io::Error) -> bool {
    match error.kind() {
        ErrorKind::PermissionDenied => true,
        ErrorKind::NotFound => path == Path::new(CONFIG),
        _ => false,
    }
}
