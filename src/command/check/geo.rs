//! The files that say where addresses are.

use super::service::Use;
use super::{Finding, Machine};
use crate::geo::Atlas;

/// Nothing where none is configured.
pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    const WHAT: &str = "geo";
    let config = &machine.config.geo;
    if let Err(error) = Atlas::open(config) {
        return vec![Finding::fail(WHAT, error.to_string(), "the daemon does not start with it")];
    }
    let files = [&config.country, &config.network].into_iter().flatten();
    let finding = |file: &std::path::PathBuf| match machine.service.may(file, Use::Read) {
        Ok(()) => Finding::ok(WHAT, format!("{} can be read", file.display())),
        Err(why) => Finding::fail(WHAT, format!("{} cannot be read: {why}", file.display()), super::service::ADVICE),
    };
    files.map(finding).collect()
}
