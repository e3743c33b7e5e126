//! The two threads of an engine that only reads. One sleeps on the watermarks of the logs that
//! somebody follows, the other on changes of files, which bring new topics, a new ring, a new
//! writer. Neither wakes while nothing happens, with one exception: who may not leave a mark in
//! WAITERS looks every millisecond, as long as somebody follows.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use super::Inner;
use crate::buf::futex;
use crate::driver::disk::{Changed, DiskRef, Watched};
use crate::error::{Error, Result};
use crate::ids::LogId;
use crate::log::MaintenanceSignal;
use crate::log::follow::Armed;
use crate::shard::Worker;

/// How often the watermarks are looked at where the writer cannot be told to wake us.
const POLL: Duration = Duration::from_millis(1);
/// How often files are looked at where the kernel does not tell of their changes.
const POLL_FILES: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Watch {
    shared: Arc<Shared>,
    threads: OnceLock<Vec<Worker>>,
}

#[derive(Debug)]
struct Shared {
    /// Changes whenever the first thread shall look around.
    word: AtomicU32,
    files_changed: AtomicBool,
    ending: AtomicBool,
    /// `None`: files are polled.
    files: Option<Box<dyn Watched>>,
}

impl Shared {
    fn poke(&self) {
        self.word.fetch_add(1, Ordering::SeqCst);
        futex::wake_all(&self.word);
    }
}

impl Watch {
    pub(super) fn new(disk: &DiskRef) -> Result<Self> {
        let files = disk.watch().map_err(|error| Error::io("watch", disk.root(), error))?;
        let shared = Shared {
            word: AtomicU32::new(0),
            files_changed: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            files,
        };
        Ok(Self { shared: Arc::new(shared), threads: OnceLock::new() })
    }

    /// What logs call when somebody begins to follow.
    pub(super) fn signal(&self) -> MaintenanceSignal {
        let shared = Arc::downgrade(&self.shared);
        Arc::new(move || {
            if let Some(shared) = shared.upgrade() {
                shared.poke();
            }
        })
    }

    /// Starts the threads; they keep no engine.
    pub(super) fn start(&self, inner: &Arc<Inner>) -> Result<()> {
        let failed = |error| Error::io("start a thread for", "readers", error);
        let (shared, engine) = (Arc::clone(&self.shared), Arc::downgrade(inner));
        let follow = move || while follow_once(&shared, &engine) {};
        let mut threads = vec![Worker::spawn("ringlog-follow", follow).map_err(failed)?];
        let (shared, engine) = (Arc::clone(&self.shared), Arc::downgrade(inner));
        if shared.files.is_some() {
            let files = move || watch_files(&shared, &engine);
            threads.push(Worker::spawn("ringlog-files", files).map_err(failed)?);
        }
        let _ = self.threads.set(threads);
        Ok(())
    }

    pub(super) fn is_current(&self) -> bool {
        self.threads.get().is_some_and(|threads| threads.iter().any(Worker::is_current))
    }

    /// Ends the threads; false if that takes longer than `timeout`, or this is one of them.
    pub(super) fn end(&self, timeout: Duration) -> bool {
        self.shared.ending.store(true, Ordering::SeqCst);
        self.shared.poke();
        if let Some(files) = &self.shared.files {
            files.end();
        }
        let started = Instant::now();
        let left = || timeout.saturating_sub(started.elapsed());
        let threads = self.threads.get().map(Vec::as_slice).unwrap_or_default();
        threads.iter().all(|thread| !thread.is_current() && thread.join(left()))
    }
}

/// Takes in what has come, then sleeps until there is more; false when it shall end.
fn follow_once(shared: &Shared, engine: &Weak<Inner>) -> bool {
    let seen = shared.word.load(Ordering::SeqCst);
    if shared.ending.load(Ordering::SeqCst) {
        return false;
    }
    // Dropped before the sleep, so that the last handle elsewhere is the last.
    let Some(inner) = engine.upgrade() else { return false };
    let polls_files = shared.files.is_none();
    if polls_files {
        inner.note_change(None);
    }
    if shared.files_changed.swap(false, Ordering::SeqCst) || polls_files {
        // Whoever asks for a topic hears of what fails here.
        let _ = inner.refresh();
    }
    let (mut armed, mut polls) = (Vec::new(), false);
    for log in inner.followed() {
        if log.follow.as_ref().is_none_or(|follow| !follow.is_wanted()) {
            continue;
        }
        if log.catch_up().is_err() {
            // The readers meet the error themselves when they look.
            log.wake_readers();
            continue;
        }
        match log.arm_follow() {
            Armed::Again => return true,
            Armed::On(source, value) => armed.push((source, log.class, value)),
            Armed::Poll => polls = true,
            Armed::Quiet => {}
        }
    }
    drop(inner);
    let mut words = vec![(&shared.word, seen)];
    for (source, class, value) in &armed {
        words.extend(source.futexes(*class, *value));
    }
    polls |= words.len() > futex::WORDS_MAX;
    words.truncate(futex::WORDS_MAX);
    let timeout = if polls { Some(POLL) } else { polls_files.then_some(POLL_FILES) };
    if futex::wait_any(&words, timeout).is_err() {
        // A kernel that cannot sleep on several words.
        let _ = futex::wait_any(&words[..1], Some(POLL));
    }
    true
}

/// Sleeps until files change, and says so.
fn watch_files(shared: &Shared, engine: &Weak<Inner>) {
    let Some(files) = &shared.files else { return };
    loop {
        let Ok(changed) = files.wait() else { return };
        let Some(inner) = engine.upgrade() else { return };
        match changed {
            Changed::Ended => return,
            Changed::Root => inner.note_change(None),
            Changed::Logs(logs) => {
                for id in logs {
                    inner.note_change(Some(LogId(id)));
                }
            }
        }
        shared.files_changed.store(true, Ordering::SeqCst);
        drop(inner);
        shared.poke();
    }
}
