//! Files that are whole whatever happens: the old content or the new one, never half of either.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::file;

/// Replaces the file at `path` by what `write` writes: into a file beside it, onto the disk, then renamed.
///
/// # Errors
/// If any step fails. The old file is then as it was, and nothing is left beside it.
pub fn replace(path: &Path, mode: u32, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    // A device, such as /dev/null, would be gone.
    file::must_be_regular(path)?;
    let beside = beside(path);
    write_beside(path, mode, write)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&beside, path))
        .inspect_err(|_| drop(fs::remove_file(&beside)))?;
    sync_folder_of(path)
}

/// Whose a file is after it was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The same one's as before.
    Same,
    /// Ours: we have no right to give files away.
    Ours,
}

/// The same for a file that belongs to the administrator: a symbolic link stays one, mode and owner stay, and only a
/// file that was not there gets `mode`. Without the right to give it to its owner, it is ours from then on.
///
/// # Errors
/// As [`replace`].
pub fn replace_like_old(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<Owner> {
    let target = match fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => {
            return replace(path, mode, write).map(|()| Owner::Same);
        }
        target => target?,
    };
    let old = fs::metadata(&target)?;
    let mut owner = Owner::Same;
    replace(&target, old.mode() & 0o7777, |out| {
        let new = out.get_ref().metadata()?;
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            match fchown(out.get_ref(), Some(old.uid()), Some(old.gid())) {
                Err(error) if error.kind() == ErrorKind::PermissionDenied => owner = Owner::Ours,
                given => given?,
            }
        }
        write(out)
    })?;
    Ok(owner)
}

/// Writes the file [`beside`] `path` anew, without waiting for the disk, and hands it out open.
///
/// # Errors
/// If it cannot be made or written; it is then removed.
pub fn write_beside(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<File> {
    let beside = beside(path);
    let fill = || {
        // What a crash left goes, and what is made is ours: `create_new` follows no link that somebody put there.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = File::options().create_new(true).append(true).mode(0o600).open(&beside)?;
        let mut out = BufWriter::with_capacity(64 * 1024, file);
        write(&mut out)?;
        let file = out.into_inner().map_err(|error| error.into_error())?;
        // At last, because a change of the owner takes some of it away.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        Ok(file)
    };
    fill().inspect_err(|_| drop(fs::remove_file(&beside)))
}

/// Where a new content of `path` is prepared: the same name with `.new` behind it.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".new");
    PathBuf::from(name)
}

/// Waits until the names in the folder of `path` are on the disk: a rename is not durable before.
///
/// # Errors
/// If the folder cannot be opened or the disk reports a failure.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// The folder that a file is in: the working directory if the path names none.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_failure_leaves_the_old_content_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace(&path, 0o600, |out| out.write_all(b"old")).unwrap();
        let failed = replace(&path, 0o600, |out| {
            out.write_all(b"half of the new")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_leftover_with_another_mode_gives_neither_its_content_nor_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(beside(&path), "a long leftover of a crash").unwrap();
        fs::set_permissions(beside(&path), fs::Permissions::from_mode(0o644)).unwrap();
        replace(&path, 0o600, |out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
