//! What readers hold: mapped segments and copied windows, counted against one cap for the whole
//! engine. A lease keeps its memory, and the file behind it, beyond reader, retention, close and
//! engine; a file that is leased is never recycled, not even by a later writer in another process,
//! because leases that outlive their engine hold READERS.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::buf::SegmentMap;
use crate::driver::disk::{Disk, FileRef, ReadersGuard};
use crate::error::{Error, Result};
use crate::limits::{KEPT_BYTES_MAX, KEPT_MAPS_MAX, READ_WINDOW_BYTES, SPARE_WINDOWS_MAX};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// What the leases of one engine pin, and how much they may.
#[derive(Debug)]
pub(crate) struct Pins {
    max: u64,
    pinned: AtomicU64,
    files: Mutex<Files>,
    /// Buffers of dropped windows: fresh pages cost more than the read that fills them.
    spare: Mutex<Vec<Vec<u8>>>,
}

#[derive(Debug, Default)]
struct Files {
    /// Files that something outside the log refers to.
    shared: usize,
    closed: bool,
    /// Taken when the engine closed and some were left.
    hold: Option<ReadersGuard>,
}

impl Pins {
    pub(crate) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self {
            max,
            pinned: AtomicU64::new(0),
            files: Mutex::default(),
            spare: Mutex::default(),
        })
    }

    /// Bytes that leases pin now.
    pub(crate) fn pinned(&self) -> u64 {
        self.pinned.load(Ordering::Relaxed)
    }

    /// The most that they may pin.
    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    /// Pins `want` bytes, or if that is too much, `least`.
    pub(crate) fn claim(self: &Arc<Self>, want: u64, least: u64) -> Result<Pin> {
        for len in [want, least] {
            let add = |pinned: u64| pinned.checked_add(len).filter(|sum| *sum <= self.max);
            if self.pinned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok() {
                return Ok(Pin { pins: Arc::clone(self), len });
            }
        }
        Err(Error::Pinned { pinned: self.pinned(), max: self.max })
    }

    /// Says that a file is about to be referred to from outside; an error once the engine is
    /// closed, whose successor may have recycled it.
    pub(crate) fn share(self: &Arc<Self>) -> Result<Share> {
        let mut files = self.files.lock();
        if files.closed {
            return Err(Error::Closed { outcome_unknown: false });
        }
        files.shared += 1;
        Ok(Share(Arc::clone(self)))
    }

    /// The engine closes, before it gives LOCK back. Files still leased are held against its
    /// successors.
    pub(crate) fn close(&self, disk: &dyn Disk) -> std::io::Result<()> {
        let mut files = self.files.lock();
        files.closed = true;
        if files.shared > 0 && files.hold.is_none() {
            // The writer made READERS when it opened: if it has gone since, so has the directory.
            files.hold = disk.hold_readers()?;
        }
        Ok(())
    }

    /// A zeroed or used buffer of this length.
    fn buffer(&self, len: usize) -> Vec<u8> {
        let mut bytes = self.spare.lock().pop().unwrap_or_default();
        bytes.resize(len, 0);
        bytes
    }
}

/// Bytes counted; given back when dropped.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Arc<Pins>,
    len: u64,
}

impl Pin {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Makes the two one.
    pub(crate) fn join(&mut self, mut other: Self) {
        self.len += std::mem::take(&mut other.len);
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.pins.pinned.fetch_sub(self.len, Ordering::Relaxed);
    }
}

/// A file referred to from outside the log; see [`Pins::share`].
#[derive(Debug)]
pub(crate) struct Share(Arc<Pins>);

impl Drop for Share {
    fn drop(&mut self) {
        let _given_back = {
            let mut files = self.0.files.lock();
            files.shared -= 1;
            if files.shared == 0 { files.hold.take() } else { None }
        };
    }
}

/// A segment's mapping, one for all its readers. Dropped in this order: the mapping, the file, and
/// only then the claim that keeps the file from being recycled.
#[derive(Debug)]
pub(crate) struct Mapped {
    map: SegmentMap,
    file: FileRef,
    _share: Share,
}

impl Mapped {
    /// `None` where files cannot be mapped.
    pub(crate) fn new(file: &FileRef, len: u64, share: Share) -> std::io::Result<Option<Self>> {
        let map = file.map(len)?;
        Ok(map.map(|map| Self { map, file: Arc::clone(file), _share: share }))
    }

    /// The bytes `from..from + pin.len()` of the file, faulted in. The length is checked first: the
    /// file may have been cut short since it was mapped.
    pub(crate) fn lease(self: &Arc<Self>, from: u64, pin: Pin) -> std::io::Result<Bytes> {
        let (from, len) = (from as usize, pin.len as usize);
        if self.file.len_bytes()? < (from + len) as u64 || from + len > self.map.len() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.map.populate(from, len)?;
        Ok(Bytes::from_owner(Lease { mapped: Arc::clone(self), from, len, _pin: pin }))
    }
}

/// Mappings of one log's segments that stay when their last reader goes: the next one then faults
/// nothing in again, which costs more than a third of walking over small batches. What they
/// hold is page cache, which the kernel may take back at any time.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<KeptMaps>);

#[derive(Debug, Default)]
struct KeptMaps {
    /// By the segment's base; the one used last is at the end.
    maps: VecDeque<(u64, Arc<Mapped>)>,
    closed: bool,
}

impl Kept {
    /// Keeps it, instead of those unused for longest, if `wanted` says that its segment still is
    /// the log's.
    pub(crate) fn keep(&self, base: u64, mapped: &Arc<Mapped>, wanted: impl FnOnce() -> bool) {
        let mut kept = self.0.lock();
        if kept.closed || !wanted() {
            return;
        }
        kept.maps.retain(|(other, _)| *other != base);
        kept.maps.push_back((base, Arc::clone(mapped)));
        let bytes = |maps: &VecDeque<(u64, Arc<Mapped>)>| -> usize {
            maps.iter().map(|(_, mapped)| mapped.map.len()).sum()
        };
        while kept.maps.len() > KEPT_MAPS_MAX || bytes(&kept.maps) > KEPT_BYTES_MAX {
            kept.maps.pop_front();
        }
    }

    /// A segment is the log's no more.
    pub(crate) fn let_go(&self, base: u64) {
        self.0.lock().maps.retain(|(other, _)| *other != base);
    }

    /// The log ends: keeps nothing from now on.
    pub(crate) fn close(&self) {
        let maps = {
            let mut kept = self.0.lock();
            kept.closed = true;
            std::mem::take(&mut kept.maps)
        };
        drop(maps);
    }
}

struct Lease {
    mapped: Arc<Mapped>,
    from: usize,
    len: usize,
    _pin: Pin,
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        self.mapped.map.bytes(self.from, self.len)
    }
}

/// A copied window, whose buffer goes back to its engine.
struct Copied {
    bytes: Vec<u8>,
    pin: Pin,
}

impl AsRef<[u8]> for Copied {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes.capacity() <= READ_WINDOW_BYTES {
            let mut spare = self.pin.pins.spare.lock();
            if spare.len() < SPARE_WINDOWS_MAX {
                spare.push(bytes);
            }
        }
    }
}

/// A window of `pin`'s length that `fill` writes to; `None` if it declines. It gives as many bytes
/// as it says.
pub(crate) fn copied<E>(
    pin: Pin,
    fill: impl FnOnce(&mut [u8]) -> Result<Option<usize>, E>,
) -> Result<Option<Bytes>, E> {
    let bytes = pin.pins.buffer(pin.len as usize);
    let mut copied = Copied { bytes, pin };
    let Some(len) = fill(&mut copied.bytes)? else { return Ok(None) };
    copied.bytes.truncate(len);
    Ok(Some(Bytes::from_owner(copied)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::disk::OpenMode;
    use crate::driver::os::OsDisk;

    #[test]
    fn pins_are_counted_capped_and_given_back() {
        let pins = Pins::new(100);
        let first = pins.claim(60, 10).unwrap();
        let second = pins.claim(60, 10).unwrap();
        assert_eq!((first.len(), second.len(), pins.pinned()), (60, 10, 70));
        let refused = pins.claim(60, 31).unwrap_err();
        assert!(matches!(refused, Error::Pinned { pinned: 70, max: 100 }), "{refused:?}");
        assert!(refused.is_retriable());
        drop(first);
        let window = copied(pins.claim(60, 31).unwrap(), |bytes| {
            bytes.fill(7);
            Ok::<_, Error>(Some(50))
        });
        let window = window.unwrap().unwrap();
        let part = window.slice(10..20);
        drop(window);
        assert_eq!((&part[..], pins.pinned()), (&[7; 10][..], 70));
        drop((part, second));
        assert_eq!(pins.pinned(), 0);
    }

    #[test]
    fn nothing_is_shared_once_the_engine_is_closed() {
        let disk = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(disk.path(), false).unwrap();
        disk.make_readers().unwrap();
        let pins = Pins::new(100);
        let share = pins.share().unwrap();
        drop(pins.share().unwrap());
        assert!(disk.exclude_readers().unwrap().is_some(), "only leases of a closed engine hold");
        pins.close(&disk).unwrap();
        assert!(matches!(pins.share(), Err(Error::Closed { .. })));
        assert!(disk.exclude_readers().unwrap().is_none(), "a lease outlived its engine");
        drop(share);
        assert!(disk.exclude_readers().unwrap().is_some());
    }

    #[test]
    fn what_is_kept_is_capped_and_let_go() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("segment"), [7; 4096]).unwrap();
        let disk = OsDisk::open(dir.path(), false).unwrap();
        let file = disk.open("segment", OpenMode::Read).unwrap();
        let pins = Pins::new(1 << 20);
        let map = || Arc::new(Mapped::new(&file, 4096, pins.share().unwrap()).unwrap().unwrap());
        let kept = Kept::default();
        let maps: Vec<Arc<Mapped>> = (0..=KEPT_MAPS_MAX).map(|_| map()).collect();
        for (base, map) in (0..).zip(&maps) {
            kept.keep(base, map, || true);
            kept.keep(base, map, || true);
        }
        let uses = |map: &Arc<Mapped>| Arc::strong_count(map) - 1;
        assert_eq!(uses(&maps[0]), 0, "more than allowed are kept");
        assert!(maps[1..].iter().all(|map| uses(map) == 1));
        kept.let_go(1);
        assert_eq!((uses(&maps[1]), uses(&maps[2])), (0, 1));
        kept.keep(1, &maps[1], || false);
        assert_eq!(uses(&maps[1]), 0, "a segment that is gone is kept");
        kept.close();
        kept.keep(1, &maps[1], || true);
        assert!(maps.iter().all(|map| uses(map) == 0), "kept after the end");
    }
}
