//! Sleeping on words of shared memory: the kernel looks at the word, the memory may be mapped for
//! reading only, and whoever changes the word wakes by the file's page, from any process.

use std::io;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex::{self, ClockId, Flags, Timespec, WaitFlags, WaitPtr, WaitvFlags};
use rustix::time::clock_gettime;

/// The kernel waits on no more at once.
pub const WORDS_MAX: usize = 128;

/// Wakes everyone who sleeps on this word, in whatever process.
pub fn wake_all(word: &AtomicU32) {
    // Fails only for an address that is none.
    let _ = futex::wake(word, Flags::empty(), i32::MAX as u32);
}

/// Sleeps until one of the words is woken, or is not what was seen there; or until `timeout`
/// passes, or a signal comes. Fails where the kernel cannot wait on several words.
pub fn wait_any(words: &[(&AtomicU32, u32)], timeout: Option<Duration>) -> io::Result<()> {
    let end = timeout.map(|timeout| {
        let now = clock_gettime(ClockId::Monotonic);
        let nanos = now.tv_nsec as u64 + u64::from(timeout.subsec_nanos());
        Timespec {
            tv_sec: now.tv_sec + timeout.as_secs() as i64 + (nanos / 1_000_000_000) as i64,
            tv_nsec: (nanos % 1_000_000_000) as _,
        }
    });
    let wait = |(word, seen): &(&AtomicU32, u32)| {
        let mut wait = futex::Wait::new();
        wait.val = u64::from(*seen);
        wait.uaddr = WaitPtr::new(word.as_ptr().cast());
        wait.flags = WaitFlags::SIZE_U32;
        wait
    };
    let waits: Vec<futex::Wait> = words.iter().map(wait).collect();
    match futex::waitv(&waits, WaitvFlags::empty(), end.as_ref(), ClockId::Monotonic) {
        Ok(_) | Err(Errno::AGAIN | Errno::TIMEDOUT | Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_word_that_has_changed_is_not_slept_on_and_a_wake_ends_the_sleep() {
        let words = [AtomicU32::new(1), AtomicU32::new(2)];
        wait_any(&[(&words[0], 1), (&words[1], 7)], None).unwrap();
        wait_any(&[(&words[0], 1)], Some(Duration::from_millis(1))).unwrap();
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                while words[1].load(Ordering::SeqCst) == 2 {
                    wait_any(&[(&words[0], 1), (&words[1], 2)], None).unwrap();
                }
            });
            words[1].store(3, Ordering::SeqCst);
            wake_all(&words[1]);
            sleeper.join().unwrap();
        });
    }
}
