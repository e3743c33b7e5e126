//! Many scenarios on several threads. The first that fails ends it, made small.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::scenario::{Failure, Tally, run};
use crate::shrink::shrink;

/// How often the caller hears of progress.
const PROGRESS: Duration = Duration::from_millis(200);
/// A scenario takes milliseconds; one that takes this long hangs.
const HANGS: Duration = Duration::from_secs(300);

/// Which scenarios to run.
#[derive(Clone, Copy, Debug)]
pub struct Bulk {
    /// The first seed.
    pub first: u64,
    /// How many seeds.
    pub seeds: u64,
    /// On how many threads.
    pub threads: usize,
    /// No new one is begun after this.
    pub until: Option<Instant>,
}

/// What the threads share.
struct Shared {
    next: AtomicU64,
    end: u64,
    until: Option<Instant>,
    stop: AtomicBool,
    tally: Mutex<Tally>,
    failure: Mutex<Option<Box<Failure>>>,
}

/// What one thread does now: its seed, and since when.
type Now = Mutex<Option<(u64, Instant)>>;

impl Bulk {
    /// Runs them all; `progress` hears of the sum so far.
    ///
    /// # Errors
    /// The first that failed, made small.
    ///
    /// # Panics
    /// If a scenario hangs: nothing else ends its thread.
    pub fn run(self, progress: &mut dyn FnMut(&Tally)) -> Result<Tally, Box<Failure>> {
        let shared = Shared {
            next: AtomicU64::new(self.first),
            end: self.first + self.seeds,
            until: self.until,
            stop: AtomicBool::new(false),
            tally: Mutex::default(),
            failure: Mutex::default(),
        };
        let nows: Vec<Now> = (0..self.threads.max(1)).map(|_| Now::default()).collect();
        std::thread::scope(|scope| {
            let shared = &shared;
            let mut threads = Vec::new();
            for now in &nows {
                threads.push(scope.spawn(move || shared.work(now)));
            }
            while threads.iter().any(|thread| !thread.is_finished()) {
                std::thread::park_timeout(PROGRESS);
                progress(&lock(&shared.tally));
                for now in &nows {
                    if let Some((seed, since)) = *lock(now)
                        && since.elapsed() > HANGS
                    {
                        // A panic would wait for the thread that hangs.
                        complain(seed);
                    }
                }
            }
        });
        let tally = *lock(&shared.tally);
        progress(&tally);
        match lock(&shared.failure).take() {
            Some(failure) => Err(shrink(failure)),
            None => Ok(tally),
        }
    }
}

impl Shared {
    fn work(&self, now: &Now) {
        while !self.stop.load(Ordering::Relaxed)
            && self.until.is_none_or(|until| Instant::now() < until)
        {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.end {
                return;
            }
            *lock(now) = Some((seed, Instant::now()));
            match run(seed) {
                Ok(outcome) => lock(&self.tally).add(&outcome.tally),
                Err(failure) => {
                    self.stop.store(true, Ordering::Relaxed);
                    lock(&self.failure).get_or_insert(failure);
                }
            }
            *lock(now) = None;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn complain(seed: u64) -> ! {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "seed {seed} hangs: repeat with RINGLOG_SEED={seed}");
    std::process::exit(1);
}
