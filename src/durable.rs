//! Files that are whole whatever happens: the old content or the new one, never half of either.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Replaces the file at `path` by what `write` writes: into a file beside it, onto the disk, then renamed.
///
/// # Errors
/// If any step fails. The old file is then as it was, and nothing is left beside it.
pub fn replace(path: &Path, mode: u32, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let beside = beside(path);
    write_beside(path, mode, write)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&beside, path))
        .inspect_err(|_| drop(fs::remove_file(&beside)))?;
    sync_folder_of(path)
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
        let file = File::options().create(true).append(true).mode(mode).open(&beside)?;
        file.set_len(0)?;
        // A leftover of a crash, or the umask, may have given it another mode.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        let mut out = BufWriter::with_capacity(64 * 1024, file);
        write(&mut out)?;
        out.flush()?;
        out.into_inner().map_err(|error| error.into_error())
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
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

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
