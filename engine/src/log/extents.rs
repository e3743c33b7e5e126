//! Where batches lie, for those who send them without looking: ranges of segment files where the
//! ring no longer has them, memory where it does. Only headers are read. What is gathered is pinned
//! like any lease, and its files are open for reading only.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::lease::{Pin, Share, copied};
use super::reader::Cursor;
use super::segment::Segment;
use super::walk::Reach;
use crate::driver::disk::{FileRef, full_path, io_error};
use crate::error::{Error, Result};
use crate::ids::Offset;
use crate::limits::{EXTENT_BATCHES_MAX, FRAME_HEADER_BYTES};

/// A segment's file in strange hands.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) file: FileRef,
    segment: Arc<Segment>,
    path: PathBuf,
    _share: Share,
}

impl Given {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Batches next to each other in one place.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// Bytes of a file, `at` in it.
    File { given: Arc<Given>, at: u64, len: u64 },
    /// Bytes of the ring, copied.
    Memory(Bytes),
}

impl Piece {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::File { len, .. } => *len,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }
}

/// Whole batches, in order.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) first: Offset,
    pub(crate) next: Offset,
    pub(crate) len: u64,
    pub(crate) pieces: Vec<Piece>,
    /// Of each batch: how many bytes end with it, and the offset after it.
    pub(crate) ends: Vec<(u64, Offset)>,
    pin: Option<Pin>,
}

impl Gathered {
    fn push(&mut self, piece: Piece, first: Offset, next: Offset) {
        if self.ends.is_empty() {
            self.first = first;
        }
        self.next = next;
        self.len += piece.len();
        self.ends.push((self.len, next));
        match (self.pieces.last_mut(), &piece) {
            (
                Some(Piece::File { given, at, len }),
                Piece::File { given: same, at: after, len: more },
            ) if Arc::ptr_eq(given, same) && *at + *len == *after => *len += more,
            _ => self.pieces.push(piece),
        }
    }
}

impl Cursor {
    /// The next whole batches, as many as fit into `max_bytes` and at least one; none at the end.
    pub(crate) fn gather(&mut self, max_bytes: u64) -> Result<Gathered> {
        self.log().check_fork()?;
        self.window.wants_heads = true;
        let here = Offset(self.next_offset());
        let mut gathered = Gathered {
            first: here,
            next: here,
            len: 0,
            pieces: Vec::new(),
            ends: Vec::new(),
            pin: None,
        };
        let mut given = None;
        while gathered.ends.len() < EXTENT_BATCHES_MAX {
            match self.gather_next(&mut gathered, &mut given, max_bytes) {
                Ok(true) => {}
                // What fails after something is told by the next call, which starts there.
                Err(error) if gathered.ends.is_empty() => return Err(error),
                Ok(false) | Err(_) => break,
            }
        }
        Ok(gathered)
    }

    fn gather_next(
        &mut self,
        gathered: &mut Gathered,
        given: &mut Option<Arc<Given>>,
        max_bytes: u64,
    ) -> Result<bool> {
        let Some((frame, header)) = self.next_frame(Reach::Head)? else { return Ok(false) };
        let len = u64::from(frame.payload_len);
        if !gathered.ends.is_empty() && gathered.len + len > max_bytes {
            return Ok(false);
        }
        let body = frame.position.0 + FRAME_HEADER_BYTES as u64;
        let piece = if self.window.is_whole() {
            Piece::Memory(self.window.slice(body, len as usize))
        } else {
            let pin = self.log().pins.claim(len, len)?;
            let given = self.give(given, body)?;
            let at = body - given.segment.base();
            if given.file.read_descriptor().is_none() {
                Piece::Memory(self.copy(&given, at, pin)?)
            } else {
                match &mut gathered.pin {
                    Some(all) => all.join(pin),
                    none => *none = Some(pin),
                }
                Piece::File { given, at, len }
            }
        };
        gathered.push(piece, header.base_offset, header.last_offset() + 1);
        self.pass(&frame, &header);
        Ok(true)
    }

    /// The segment at `position`, open to be given away.
    fn give(&self, given: &mut Option<Arc<Given>>, position: u64) -> Result<Arc<Given>> {
        if let Some(given) = given.as_ref().filter(|given| given.segment.contains(position)) {
            return Ok(Arc::clone(given));
        }
        let log = self.log();
        let segment = log.segment_at(position).ok_or_else(|| {
            // Trimmed since its frame was seen; the reader's next look tells.
            Error::corrupt(log.disk.root().join(&log.name), position, "segment was retired")
        })?;
        let share = log.pins.share()?;
        let file = segment.open_to_give(&*log.disk)?;
        let path = full_path(&*log.disk, segment.path());
        let fresh = Arc::new(Given { file, segment, path, _share: share });
        *given = Some(Arc::clone(&fresh));
        Ok(fresh)
    }

    /// Where files have no descriptors.
    fn copy(&self, given: &Given, at: u64, pin: Pin) -> Result<Bytes> {
        let (disk, path) = (&*self.log().disk, given.segment.path());
        let len = pin.len();
        let bytes = copied(pin, |bytes| given.file.read_at(bytes, at).map(Some));
        let bytes = bytes.map_err(io_error(disk, "read", path))?.unwrap_or_default();
        if bytes.len() as u64 == len {
            return Ok(bytes);
        }
        Err(Error::corrupt(full_path(disk, path), at, "the file ends here"))
    }
}
