//! The thread that waits for the disk, so that nobody else has to.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::fcntl::Flock;

use crate::state::durable;

/// An open journal; the lock keeps other processes from writing it.
pub(super) type Locked = Arc<Flock<File>>;

/// Pause between two rounds. Together with the time that a disk takes, nothing waits longer than a second.
const PACE: Duration = Duration::from_millis(500);

/// Brings files to the disk. What is waiting when it is dropped is on the disk after that.
#[derive(Debug)]
pub(super) struct Syncer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<Locked>,
    folder: bool,
    /// Requests so far, and how many of them are done.
    asked: u64,
    done: u64,
    failure: Option<io::Error>,
    stop: bool,
}

impl Syncer {
    /// Starts the thread `journal-sync`. `path` is the journal, whose folder is synced.
    pub fn start(path: PathBuf) -> io::Result<Syncer> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name("journal-sync".into()).spawn(move || run(&theirs, &path))?;
        Ok(Syncer { shared, thread: Some(thread) })
    }

    /// Asks for what is in `file` now to reach the disk, and with `renamed` the names in its folder too.
    /// Returns the number of the request, see [`Syncer::done`].
    pub fn soon(&self, file: &Locked, renamed: bool) -> u64 {
        let mut state = self.shared.lock();
        if !state.files.iter().any(|waiting| Arc::ptr_eq(waiting, file)) {
            state.files.push(Arc::clone(file));
        }
        state.folder |= renamed;
        state.asked += 1;
        self.shared.changed.notify_one();
        state.asked
    }

    /// How many requests are done.
    ///
    /// # Errors
    /// If the disk failed since the last call: what was asked for before may never have reached it, and asking
    /// again would not help, because the kernel forgets what it could not write.
    pub fn done(&self) -> io::Result<u64> {
        let mut state = self.shared.lock();
        state.failure.take().map_or(Ok(state.done), Err)
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked: that would have ended the process.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(shared: &Shared, path: &std::path::Path) {
    let mut state = shared.lock();
    loop {
        state = shared
            .changed
            .wait_while(state, |state| state.files.is_empty() && !state.stop)
            .unwrap_or_else(PoisonError::into_inner);
        if state.files.is_empty() {
            return;
        }
        let files = std::mem::take(&mut state.files);
        let renamed = std::mem::take(&mut state.folder);
        let asked = state.asked;
        drop(state);
        let synced = files
            .iter()
            .try_for_each(|file| file.sync_data())
            .and_then(|()| if renamed { durable::sync_folder_of(path) } else { Ok(()) });
        drop(files);
        state = shared.lock();
        match synced {
            Ok(()) => state.done = asked,
            Err(error) => state.failure = Some(error),
        }
        state = shared
            .changed
            .wait_timeout_while(state, PACE, |state| !state.stop)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
}
