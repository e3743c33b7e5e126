//! What a reader has open of a writer's ring: the mapping, which may be an old one, and the page in
//! which it says that it sleeps. Never stores into the ring.

use std::sync::atomic::{AtomicU32, Ordering, fence};

use uuid::Uuid;

use crate::buf::{Page, RingMap};
use crate::config::Flush;
use crate::driver::disk::{Disk, io_error};
use crate::error::{Error, Result};
use crate::format::ring_control::{
    COMMITTED, DURABLE, EPOCH, GROWING, Identity, LO, identify, is_written_by,
};
use crate::format::{FORMAT_VERSION, Seed};
use crate::ids::LeaderEpoch;
use crate::log::growth::{grown, overlay};

/// The mark of who sleeps, until the writer takes it away.
const SLEEPS: u32 = 1;

/// See the module.
#[derive(Debug)]
pub(crate) struct Source {
    ring: Option<RingMap>,
    page: Option<Page>,
    epoch: u64,
    /// The ring is not asked for what lies below: segments had it when this was opened.
    from: u64,
    /// Somebody had the writer's lock when this was opened.
    has_writer: bool,
    /// Position and bytes of the batch that grew when the writer died.
    grown: Option<(u64, Vec<u8>)>,
}

impl Source {
    /// Nothing.
    pub(crate) fn none() -> Self {
        Self { ring: None, page: None, epoch: 0, from: 0, has_writer: true, grown: None }
    }

    /// Opens the ring of the log in `dir`, if it has one that is whole.
    pub(crate) fn open(disk: &dyn Disk, dir: &str, log: Uuid) -> Result<Self> {
        let path = format!("{dir}/ring");
        let ring = disk.open_ring_to_read(&path).map_err(io_error(disk, "map", &path))?;
        let ring = match ring {
            None => None,
            Some(ring) => match identify(&ring, log) {
                Identity::Ours => Some(ring),
                Identity::Foreign => None,
                Identity::Version(found) => {
                    let path = disk.root().join(path);
                    let supported = FORMAT_VERSION;
                    return Err(Error::UnsupportedFormat { path, found, supported });
                }
            },
        };
        let path = format!("{dir}/WAITERS");
        let page = match &ring {
            Some(_) => disk.open_waiters(&path).map_err(io_error(disk, "map", &path))?,
            None => None,
        };
        let epoch = ring.as_ref().map_or(0, |ring| ring.control(EPOCH).load(Ordering::SeqCst));
        let has_writer = disk.has_writer().unwrap_or(true);
        let dead = ring.as_ref().filter(|_| !has_writer);
        let grown = dead.and_then(|ring| grown(ring, Seed::of(log), LeaderEpoch(epoch as u32)));
        Ok(Self { ring, page, epoch, from: 0, has_writer, grown })
    }

    /// Whether somebody had the writer's lock when this was opened.
    pub(crate) fn has_writer(&self) -> bool {
        self.has_writer
    }

    /// Where the batch lies that may still grow, if one may. Without a writer none does.
    fn growing(&self) -> Option<u64> {
        let ring = self.ring.as_ref().filter(|_| self.has_writer)?;
        Some(ring.control(GROWING).load(Ordering::SeqCst)).filter(|position| *position != 0)
    }

    /// Whether some that is committed cannot be shown before its batch is closed.
    pub(crate) fn hides_some(&self, class: Flush) -> bool {
        if class == Flush::Sync {
            return false;
        }
        let committed = self.load(COMMITTED);
        // In this order: what is committed tells its batch first.
        committed.is_some_and(|committed| self.growing().is_some_and(|at| at < committed))
    }

    /// The ring has nothing below this that segments do not have.
    pub(crate) fn starts_at(&mut self, position: u64) {
        self.from = position;
    }

    pub(crate) fn from(&self) -> u64 {
        self.from
    }

    /// Its content is of another history: only worth watching.
    pub(crate) fn distrust(&mut self) {
        self.from = u64::MAX;
    }

    pub(crate) fn has_ring(&self) -> bool {
        self.ring.is_some()
    }

    /// Of the ring's writer; 0 without a ring.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn len(&self) -> u64 {
        self.ring.as_ref().map_or(0, |ring| ring.len() as u64)
    }

    /// Whether the ring is still written by whom it was when it was opened.
    pub(crate) fn is_current(&self) -> bool {
        self.ring.as_ref().is_none_or(|ring| is_written_by(ring, self.epoch))
    }

    fn word_of(class: Flush) -> usize {
        match class {
            Flush::Sync => DURABLE,
            Flush::Async => COMMITTED,
        }
    }

    fn load(&self, word: usize) -> Option<u64> {
        let ring = self.ring.as_ref().filter(|_| self.from != u64::MAX)?;
        let value = ring.control(word).load(Ordering::SeqCst);
        // A new writer tells its epoch before it tells anything else.
        is_written_by(ring, self.epoch).then_some(value)
    }

    /// The watermark up to which a log of this class may be shown; `None` without a ring.
    pub(crate) fn reach(&self, class: Flush) -> Option<u64> {
        let reach = self.load(Self::word_of(class))?;
        if class == Flush::Sync {
            return Some(reach);
        }
        // The newest proof may be of a record that was not committed any more.
        let grown = self.grown.as_ref().map_or(0, |(at, frame)| at + frame.len() as u64);
        Some(self.growing().map_or(reach.max(grown), |at| at.min(reach)))
    }

    /// What the writer knows to be durable.
    pub(crate) fn durable(&self) -> Option<u64> {
        self.load(DURABLE)
    }

    /// What to sleep on until the watermark, which was `value`, has moved: the watermark, and the
    /// mark, which the writer may have taken since for something that was seen. In this order: then
    /// who takes it while the kernel is between the two finds somebody to wake.
    pub(crate) fn futexes(
        &self,
        class: Flush,
        value: u32,
    ) -> impl Iterator<Item = (&AtomicU32, u32)> {
        let watermark = self.ring.as_ref().map(|ring| ring.low_half(Self::word_of(class)));
        let mark = self.page.as_ref().map(Page::mark);
        watermark.map(|word| (word, value)).into_iter().chain(mark.map(|word| (word, SLEEPS)))
    }

    /// Leaves the mark by which the writer wakes us; `None` if it may not, or there is no ring.
    /// The watermark has to be looked at once more after it.
    pub(crate) fn tell_that_we_sleep(&self) -> Option<bool> {
        let page = self.page.as_ref()?;
        page.mark().store(SLEEPS, Ordering::SeqCst);
        Some(self.is_current())
    }

    /// The oldest position that the ring is asked for.
    fn lo(&self, ring: &RingMap) -> u64 {
        ring.control(LO).load(Ordering::Acquire).max(self.from)
    }

    /// Everything below can be read from segments, as far as it was shown.
    pub(crate) fn in_segments(&self) -> u64 {
        self.ring.as_ref().map_or(u64::MAX, |ring| self.lo(ring))
    }

    /// Copies from `at` on; false if it is not in the ring, or may have been overwritten.
    pub(crate) fn copy(&self, at: u64, out: &mut [u8]) -> bool {
        let Some(ring) = &self.ring else { return false };
        if at < self.lo(ring) || !is_written_by(ring, self.epoch) {
            return false;
        }
        ring.load(at, out);
        if let Some((position, frame)) = &self.grown {
            overlay(*position, frame, at, out);
        }
        fence(Ordering::Acquire);
        at >= self.lo(ring) && is_written_by(ring, self.epoch)
    }
}
