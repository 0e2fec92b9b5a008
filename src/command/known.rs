//! The configuration, for commands that can do without it.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::cli::CONFIG;
use crate::config::{Config, ConfigErrors};
use crate::file;

/// What is known of the configuration.
pub(super) struct Known {
    /// The configuration, or its defaults.
    pub(super) config: Config,
    /// If it is the defaults: which file cannot be read, and why.
    pub(super) unread: Option<String>,
}

/// Reads the file. The defaults hold if this user may not read it, because it holds a secret, or if it is the usual file
/// and does not exist.
///
/// # Errors
/// If the file is wrong, or is not the usual one and does not exist.
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
