//! The io_uring driver. Owns the ring, and the bytes and files of every op until the kernel has
//! given them back. Must never free what the kernel may still read, never let go of the writer's
//! lock while a write may still land, and never retry a flush.
//!
//! The ring belongs to the thread that first waits: it alone may wait, and should drop the driver.
#![expect(unsafe_code, reason = "entries point to memory that the driver keeps alive")]

mod flight;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use io_uring::register::Restriction;
use io_uring::{IoUring, Probe, Submitter, opcode, squeue, types};
use rustix::io::Errno;

use crate::buf::Waker;
use crate::buf::fork::NotInChild;
use crate::driver::blocking::Blocking;
use crate::driver::disk::LockGuard;
use crate::driver::op::{Completion, Driver, Op, Token};
use crate::driver::os::check_file_size_limit;
use crate::limits::{DRIVER_OPS_MAX, LONE_WRITE_BYTES};

use flight::{Flight, Round, Step, of_user_data};

/// All that a ring of ours is ever asked for.
const OPCODES: [u8; 3] = [opcode::Write::CODE, opcode::Fsync::CODE, opcode::PollAdd::CODE];
/// Calls of `io_uring_register` made after the ring was enabled, as in the kernel's header.
const UNREGISTER_FILES: u8 = 3;
const REGISTER_EVENTFD: u8 = 4;
/// Entries that can be handed over at once.
const SUBMISSIONS: u32 = 256;
/// A write and a flush for every op, and the waker.
const COMPLETIONS: u32 = 1024;
const _: () = assert!(2 * DRIVER_OPS_MAX < COMPLETIONS as usize);
/// How long dropping waits for the kernel.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// Pause of a drop that cannot wait in the ring.
const DRAIN_PAUSE: Duration = Duration::from_millis(1);
/// User data of the waker's entry; no op has it.
const WAKER: u64 = u64::MAX;
/// Flags of `io_uring_enter`, as in the kernel's header.
const ENTER_GETEVENTS: u32 = 1;
const ENTER_EXT_ARG: u32 = 1 << 3;
/// The kernel takes signed seconds.
const TIMEOUT_MAX: Duration = Duration::from_secs(i32::MAX as u64);

static LEAKED_OPS: AtomicUsize = AtomicUsize::new(0);

/// Ops whose memory this process has given up, because the kernel did not return it in time.
pub fn leaked_ops() -> usize {
    LEAKED_OPS.load(Ordering::Relaxed)
}

/// Why there is no io_uring; the plain driver takes its place.
#[derive(Clone, Debug, thiserror::Error)]
#[error("io_uring is unavailable: {reason}")]
pub struct UringUnavailable {
    /// What was refused.
    pub reason: String,
}

/// See the module.
pub struct Uring {
    _in_child: NotInChild,
    ring: IoUring,
    // Released, at the earliest, when nothing is in flight.
    lock: Option<LockGuard>,
    waker: Waker,
    enabled: bool,
    waker_armed: bool,
    flights: Vec<Option<Flight>>,
    free: Vec<usize>,
    // Flights to be handed over, first to last.
    pending: VecDeque<usize>,
    // Ops that ended without the kernel.
    failed: Vec<Completion>,
    // Flights of which the kernel owes completions.
    with_kernel: usize,
    reaped: Vec<(u64, i32)>,
    // Makes the writes that have nothing beside them.
    alone: Blocking,
    // Where somebody watches: the kernel fires it at each completion.
    done: Option<Waker>,
    unrestricted: Option<String>,
}

impl Uring {
    /// A ring that `waker` wakes and that keeps `lock` held until the kernel's last write, even if
    /// the process is killed. Without a lock nothing fences a dead writer: for tests.
    pub fn new(lock: Option<&LockGuard>, waker: Waker) -> Result<Self, UringUnavailable> {
        let refused = |what: &'static str| {
            move |error: io::Error| UringUnavailable { reason: format!("{what}: {error}") }
        };
        let ring = set_up().map_err(refused("setup"))?;
        if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_nodrop() {
            return Err(UringUnavailable { reason: "the kernel is too old".to_owned() });
        }
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe).map_err(refused("probe"))?;
        for code in OPCODES {
            if !probe.is_supported(code) {
                return Err(UringUnavailable { reason: format!("no operation {code}") });
            }
        }
        // Before the first write, and while the ring is disabled: there is no moment at which a
        // kill would leave writes behind that do not hold the lock.
        if let Some(file) = lock.and_then(|lock| lock.file.as_ref()) {
            let fds = [file.as_fd().as_raw_fd()];
            ring.submitter().register_files(&fds).map_err(refused("register the lock"))?;
        }
        let unrestricted = restrict(&ring.submitter()).err().map(|error| error.to_string());
        let in_child = NotInChild::descriptor(&ring).map_err(refused("fork guard"))?;
        Ok(Self {
            _in_child: in_child,
            ring,
            lock: lock.cloned(),
            alone: Blocking::new(waker.clone()),
            done: None,
            waker,
            enabled: false,
            waker_armed: false,
            flights: Vec::new(),
            free: Vec::new(),
            pending: VecDeque::new(),
            failed: Vec::new(),
            with_kernel: 0,
            reaped: Vec::new(),
            unrestricted,
        })
    }

    /// Why the kernel does not keep the ring to this driver's operations; `None`: it does.
    pub fn unrestricted(&self) -> Option<&str> {
        self.unrestricted.as_deref()
    }

    /// The first thread to wait becomes the ring's only one.
    fn enable(&mut self) -> io::Result<()> {
        if !self.enabled {
            self.ring.submitter().register_enable_rings()?;
            self.enabled = true;
        }
        Ok(())
    }

    fn accept(&mut self, flight: Flight) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.flights.push(None);
            self.flights.len() - 1
        });
        self.flights[index] = Some(flight);
        self.pending.push_back(index);
    }

    fn release(&mut self, index: usize) -> Option<Flight> {
        let flight = self.flights[index].take();
        self.free.push(index);
        flight
    }

    /// Fills the submission queue with what is pending.
    fn hand_over(&mut self) -> io::Result<()> {
        while let Some(&index) = self.pending.front() {
            // A linked pair must be handed over at once, or the link is lost.
            if self.submission_room() < 2 {
                self.enter(0, None)?;
                if self.submission_room() < 2 {
                    // Completions must be taken first; what waits goes with the next call.
                    return Ok(());
                }
            }
            self.pending.pop_front();
            let Some(flight) = self.flights[index].as_mut() else { continue };
            match flight.begin(index) {
                Ok(round) => {
                    self.with_kernel += 1;
                    self.push_round(&round);
                }
                Err(error) => {
                    let token = flight.token;
                    self.failed.push(Completion { token, result: Err(error) });
                    self.release(index);
                }
            }
        }
        Ok(())
    }

    /// Whether all that there is to do is one small durable write. The ring would pass its flush to
    /// a kernel thread, which on busy processors waits milliseconds for its turn; and a write
    /// that this thread makes itself is fenced as the plain driver's are: it ends before the
    /// process does, and the lock is let go of after that.
    fn has_lone_write(&self) -> bool {
        let [index] = *self.pending.as_slices().0 else { return false };
        self.with_kernel == 0
            && self.pending.len() == 1
            && self.flights[index]
                .as_ref()
                .is_some_and(|flight| flight.is_fresh_durable_write(LONE_WRITE_BYTES))
    }

    fn make_lone_write(&mut self, out: &mut Vec<Completion>) {
        let Some(flight) = self.pending.pop_front().and_then(|index| self.release(index)) else {
            return;
        };
        let token = flight.token;
        out.push(Completion { token, result: self.alone.execute(flight.into_op()) });
    }

    fn submission_room(&mut self) -> usize {
        let queue = self.ring.submission();
        queue.capacity() - queue.len()
    }

    fn push_round(&mut self, round: &Round) {
        self.push(&round.first);
        if let Some(second) = &round.second {
            self.push(second);
        }
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: an entry points only to the slice and the file of a flight, which stays in the
        // slab until every completion of its entries has been reaped, or is leaked for ever; or to
        // the waker's descriptor, which lives as long as the driver.
        let pushed = unsafe { self.ring.submission().push(entry) };
        pushed.expect("the room was checked before");
    }

    /// Keeps one poll of the waker's eventfd in the ring, so that a wake ends the sleep. A wake
    /// that came before completes it at once: none is lost.
    fn arm_waker(&mut self) {
        if self.waker_armed || self.submission_room() == 0 {
            return;
        }
        let fd = types::Fd(self.waker.as_fd().as_raw_fd());
        let poll = opcode::PollAdd::new(fd, libc::POLLIN as u32).build().user_data(WAKER);
        self.push(&poll);
        self.waker_armed = true;
    }

    /// Hands the submission queue to the kernel and waits for `want` completions.
    fn enter(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        let ready = self.ring.submission().len() as u32;
        let time = types::Timespec::from(timeout.unwrap_or_default().min(TIMEOUT_MAX));
        let mut args = types::SubmitArgs::new();
        if timeout.is_some() {
            args = args.timespec(&time);
        }
        let flags = ENTER_GETEVENTS | ENTER_EXT_ARG;
        // SAFETY: `ready` entries are in the queue, valid as said in `push`; `args` is what
        // EXT_ARG asks for, and lives with its timespec until the call returns.
        let entered = unsafe { self.ring.submitter().enter(ready, want, flags, Some(&args)) };
        match entered.map_err(|error| error.raw_os_error().map(Errno::from_raw_os_error)) {
            // What was not taken, because memory is short or completions must be taken first, stays
            // in the queue.
            Ok(taken) => {
                if taken < ready as usize {
                    self.flights.iter_mut().flatten().for_each(Flight::distrust_link);
                }
                Ok(())
            }
            // Likewise, or time is up, or a signal came.
            Err(Some(Errno::TIME | Errno::INTR | Errno::BUSY | Errno::AGAIN)) => Ok(()),
            Err(Some(errno)) => Err(errno.into()),
            Err(None) => Err(io::Error::other("io_uring_enter failed without an error number")),
        }
    }

    fn reap(&mut self, out: &mut Vec<Completion>) {
        let mut reaped = mem::take(&mut self.reaped);
        reaped.extend(self.ring.completion().map(|entry| (entry.user_data(), entry.result())));
        for (data, result) in reaped.drain(..) {
            if data == WAKER {
                self.waker_armed = false;
                self.waker.clear();
                continue;
            }
            let (index, part) = of_user_data(data);
            let Some(flight) = self.flights.get_mut(index).and_then(Option::as_mut) else {
                debug_assert!(false, "a completion of no flight");
                continue;
            };
            match flight.complete(part, result) {
                Step::Owed => {}
                Step::Again => {
                    self.with_kernel -= 1;
                    self.pending.push_back(index);
                }
                Step::Done(result) => {
                    self.with_kernel -= 1;
                    out.push(Completion { token: flight.token, result });
                    self.release(index);
                }
            }
        }
        self.reaped = reaped;
    }

    /// Waits until the kernel owes nothing, without starting anything new.
    fn drain(&mut self) {
        let deadline = Instant::now() + DRAIN_DEADLINE;
        let mut ignored = Vec::new();
        while self.with_kernel > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            // In a thread that is not the ring's own this fails, and completions come by
            // themselves if the ring's thread has ended.
            if self.enter(1, Some(left)).is_err() {
                std::thread::sleep(DRAIN_PAUSE);
            }
            self.reap(&mut ignored);
            ignored.clear();
        }
    }
}

/// Once it is enabled, the ring takes nothing but what this driver submits: neither a fault here
/// nor whoever gets hold of its descriptor can open files or sockets through it, which no filter of
/// system calls would see.
fn restrict(submitter: &Submitter<'_>) -> io::Result<()> {
    let registers = [UNREGISTER_FILES, REGISTER_EVENTFD];
    let mut allowed: Vec<Restriction> = OPCODES.into_iter().map(Restriction::sqe_op).collect();
    allowed.push(Restriction::sqe_flags_allowed(squeue::Flags::IO_LINK.bits()));
    allowed.extend(registers.into_iter().map(Restriction::register_op));
    submitter.register_restrictions(&mut allowed)
}

/// The newest way that the kernel knows. Starts disabled, so that the thread that uses the ring,
/// not the one that makes it, becomes its only issuer.
fn set_up() -> io::Result<IoUring> {
    let mut refused = io::Error::from(Errno::INVAL);
    for age in 0..3 {
        let mut builder = IoUring::builder();
        builder.dontfork().setup_cqsize(COMPLETIONS).setup_r_disabled();
        match age {
            0 => builder.setup_submit_all().setup_single_issuer().setup_defer_taskrun(),
            1 => builder.setup_submit_all().setup_coop_taskrun(),
            _ => &mut builder,
        };
        match builder.build(SUBMISSIONS) {
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                refused = error;
            }
            built => return built,
        }
    }
    Err(refused)
}

impl Driver for Uring {
    fn submit(&mut self, token: Token, op: Op) {
        if let Op::Write { at, data, .. } = &op {
            let end = at.checked_add(data.len() as u64).ok_or_else(|| Errno::FBIG.into());
            if let Err(error) = end.and_then(check_file_size_limit) {
                self.failed.push(Completion { token, result: Err(error) });
                return;
            }
        }
        self.accept(Flight::new(token, op));
    }

    fn start(&mut self, patient: bool) -> io::Result<bool> {
        if patient && self.has_lone_write() {
            return Ok(false);
        }
        self.enable()?;
        self.hand_over()?;
        self.enter(0, None)?;
        Ok(true)
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        self.enable()?;
        // Before looking: what completes later fires it again.
        if let Some(done) = &self.done {
            done.clear();
        }
        if self.has_lone_write() {
            self.make_lone_write(out);
            out.append(&mut self.failed);
            return Ok(());
        }
        self.hand_over()?;
        self.arm_waker();
        let ready = !self.failed.is_empty() || !self.ring.completion().is_empty();
        let sleeps = !ready && timeout != Some(Duration::ZERO);
        let entered = self.enter(u32::from(sleeps), timeout);
        self.reap(out);
        out.append(&mut self.failed);
        entered
    }

    // An eventfd of its own: the ring's descriptor tells an epoll nothing of completions that wait
    // for this thread to take them in (DEFER_TASKRUN), and the waker's is polled in the ring.
    fn watch(&mut self) -> io::Result<Option<BorrowedFd<'_>>> {
        let done = Waker::new()?;
        self.ring.submitter().register_eventfd(done.as_fd().as_raw_fd())?;
        self.done = Some(done);
        Ok(self.done.as_ref().map(AsFd::as_fd))
    }

    fn is_bound(&self) -> bool {
        true
    }

    fn in_flight(&self) -> usize {
        self.flights.len() - self.free.len() + self.failed.len()
    }

    fn name(&self) -> &'static str {
        "io_uring"
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        self.drain();
        if self.with_kernel == 0 {
            // Explicitly, because closing the ring would give the registered lock back only some
            // time later.
            if self.lock.is_some() {
                let _ = self.ring.submitter().unregister_files();
            }
            return;
        }
        // The kernel may still read these bytes and write to these files: neither is ever freed,
        // and the lock is never released before the process ends.
        for flight in self.flights.drain(..).flatten().filter(Flight::is_owed) {
            LEAKED_OPS.fetch_add(1, Ordering::Relaxed);
            mem::forget(flight);
        }
        mem::forget(self.lock.take());
    }
}

#[cfg(test)]
mod tests;
