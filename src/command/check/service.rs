//! Which files the service may use: systemd starts it with less than all of root's rights.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, Uid, User, access};

/// Where systemd looks for units, the places of the administrator first.
const UNIT_FOLDERS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

const UNIT: &str = "sipban.service";

/// What to do about a file that the service cannot read.
pub(super) const ADVICE: &str = "give it to root, in a folder that the service can see";

/// What the unit of the service takes away, as systemd.exec(5) has it. Without systemd, or without a unit, nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Service {
    /// The unit, if it takes away the right to files of any owner and mode.
    owner_counts: Option<PathBuf>,
    /// Paths that the service does not see.
    hidden: Vec<PathBuf>,
    /// If not everything, the paths that it may write to, and within them those that it may not.
    writable: Option<Vec<PathBuf>>,
    read_only: Vec<PathBuf>,
}

/// What a file is needed for. The numbers are those of a file's mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// To be read.
    Read = 4,
    /// To be written; of a folder: to take new files.
    Write = 2,
}

impl Service {
    /// The service of this machine.
    pub(super) fn installed() -> Service {
        if !Path::new("/run/systemd/system").is_dir() {
            return Service::default();
        }
        let unit = UNIT_FOLDERS.iter().map(|folder| Path::new(folder).join(UNIT)).find(|unit| unit.is_file());
        unit.map_or_else(Service::default, |unit| {
            let mut text = fs::read_to_string(&unit).unwrap_or_default();
            for folder in UNIT_FOLDERS.iter().rev() {
                text += &drop_ins(&Path::new(folder).join(UNIT).with_extension("service.d"));
            }
            Service::confined_by(&unit, &text)
        })
    }

    /// Whether the service can use this file so, and we too.
    ///
    /// # Errors
    /// If not, why.
    pub(super) fn may(&self, path: &Path, purpose: Use) -> Result<(), String> {
        let flags = if purpose == Use::Read { AccessFlags::R_OK } else { AccessFlags::W_OK };
        // Also knows of a file system that is mounted for reading only, which stops root too.
        access(path, flags).map_err(|error| format!("{}: {}", path.display(), error.desc()))?;
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let is_in = |folders: &[PathBuf]| folders.iter().any(|folder| path.starts_with(folder));
        if is_in(&self.hidden) {
            return Err(format!("{} is hidden from the service by its unit", path.display()));
        }
        let in_reach = self.writable.as_ref().is_none_or(|writable| is_in(writable)) && !is_in(&self.read_only);
        if purpose == Use::Write && !in_reach {
            return Err(format!("{} is read-only for the service, by its unit", path.display()));
        }
        match &self.owner_counts {
            Some(unit) => allowed_by_mode(&path, purpose).map_err(|why| {
                format!("{why}, and the service has no right to the files of others, by {}", unit.display())
            }),
            None => Ok(()),
        }
    }

    fn confined_by(unit: &Path, text: &str) -> Service {
        let settings: Vec<(&str, &str)> = text.lines().filter_map(|line| line.trim().split_once('=')).collect();
        let given = |name: &str| settings.iter().any(|(key, _)| *key == name);
        // An empty one takes back those before it.
        let values = |name: &str| -> Vec<&str> {
            let values = settings.iter().filter(|(key, _)| *key == name).map(|(_, value)| *value);
            values
                .fold(Vec::new(), |all, value| if value.is_empty() { Vec::new() } else { [all, vec![value]].concat() })
        };
        let is = |name: &str, wanted: &[&str]| values(name).last().is_some_and(|value| wanted.contains(value));
        let words = |name: &str| -> Vec<PathBuf> {
            let words = values(name).into_iter().flat_map(str::split_whitespace);
            words.map(|word| PathBuf::from(word.trim_start_matches(['-', '+']))).collect()
        };
        const YES: &[&str] = &["yes", "true", "on", "1"];
        let mut hidden = words("InaccessiblePaths");
        if is("ProtectHome", &[YES, &["tmpfs"]].concat()) {
            hidden.extend(["/home", "/root", "/run/user"].map(PathBuf::from));
        }
        if is("PrivateTmp", YES) {
            hidden.extend(["/tmp", "/var/tmp"].map(PathBuf::from));
        }
        let state = values("StateDirectory").into_iter().flat_map(str::split_whitespace);
        let state = state.map(|name| Path::new("/var/lib").join(name));
        let writable = words("ReadWritePaths").into_iter().chain(state).collect();
        let rights = values("CapabilityBoundingSet");
        let passes_over = |set: &&str| ["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"].iter().any(|cap| set.contains(cap));
        let all_rights =
            !given("CapabilityBoundingSet") || rights.iter().any(|set| passes_over(set) != set.starts_with('~'));
        Service {
            owner_counts: (!all_rights).then(|| unit.to_owned()),
            hidden,
            writable: is("ProtectSystem", &["strict"]).then_some(writable),
            read_only: words("ReadOnlyPaths"),
        }
    }
}

/// What stands in the files that change a unit, in the order of their names.
fn drop_ins(folder: &Path) -> String {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "conf") && file.is_file());
    files.sort_unstable();
    files.iter().map(|file| format!("\n{}\n", fs::read_to_string(file).unwrap_or_default())).collect()
}

/// Whether root may use it so without the right to pass over owner and mode.
fn allowed_by_mode(path: &Path, purpose: Use) -> Result<(), String> {
    const SEARCH: u32 = 1;
    let folders = path.ancestors().skip(1).map(|folder| (folder, SEARCH));
    for (path, bit) in [(path, purpose as u32)].into_iter().chain(folders) {
        let Ok(there) = fs::metadata(path) else { continue };
        let bits = match (there.uid(), there.gid()) {
            (0, _) => there.mode() >> 6,
            (_, 0) => there.mode() >> 3,
            _ => there.mode(),
        };
        if bits & bit == 0 {
            let owner = User::from_uid(Uid::from_raw(there.uid())).ok().flatten();
            let owner = owner.map_or_else(|| format!("user {}", there.uid()), |owner| owner.name);
            return Err(format!("{} belongs to {owner}, mode {:04o}", path.display(), there.mode() & 0o7777));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(text: &str) -> Service {
        Service::confined_by(Path::new("/unit"), text)
    }

    #[test]
    fn our_own_unit_is_understood() {
        let service = service(include_str!("../../../packaging/sipban.service.in"));
        assert_eq!(service.owner_counts.as_deref(), Some(Path::new("/unit")));
        for hidden in ["/home", "/root", "/tmp", "/run/docker.sock"] {
            assert!(service.hidden.contains(&hidden.into()), "{hidden}");
        }
        let writable = service.writable.unwrap();
        assert!(writable.contains(&"/run".into()) && writable.contains(&"/var/lib/sipban".into()), "{writable:?}");
        assert!(service.read_only.contains(&"/etc/passwd".into()));
    }

    #[test]
    fn a_unit_that_takes_nothing_away_leaves_everything() {
        assert_eq!(service("[Service]\nExecStart=/usr/sbin/sipban\n"), Service::default());
        let rights = |text: &str| service(text).owner_counts.is_none();
        assert!(rights("CapabilityBoundingSet=CAP_NET_ADMIN CAP_DAC_OVERRIDE\n"));
        assert!(rights("CapabilityBoundingSet=~CAP_SYS_ADMIN\n"));
        assert!(!rights("CapabilityBoundingSet=~CAP_DAC_OVERRIDE\n"));
        assert!(!rights("CapabilityBoundingSet=CAP_DAC_OVERRIDE\nCapabilityBoundingSet=\n"));
        assert_eq!(service("ProtectHome=yes\nProtectHome=no\n"), Service::default());
    }
}
