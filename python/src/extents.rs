//! Extents: where whole batches lie, for a program that sends them by itself.
//!
//! The pieces keep the files and the memory pinned as long as one of them lives, whatever became of
//! the object they came from: a descriptor that was closed under its user would soon be another
//! file's. `release()` ends that early, and then the pieces say so.

use std::ffi::c_int;
use std::os::fd::{AsRawFd as _, RawFd};

use pyo3::exceptions::{PyBufferError, PyIndexError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;
use ringlog::Extent;

use crate::guard::{Ours, guard};
use crate::lease::{Lease, Use};

/// One piece, found once: the engine's iterator begins anew each time.
#[derive(Clone, Copy)]
enum Piece {
    File {
        fd: RawFd,
        offset: u64,
        len: u64,
    },
    /// Looked at only while a use of the extents is counted.
    Memory(&'static [u8]),
}

/// Where whole batches of a partition lie, in order: ranges of files, and views of what is still in
/// memory. One after the other they are what a Kafka fetch response carries.
///
/// A sequence of `FileExtent` and memoryview. The files stay open, and are used for nothing else,
/// as long as this or one of its pieces lives; `release()` gives them back earlier.
#[pyclass(frozen, module = "ringlog", name = "Extents", weakref, sequence)]
pub(crate) struct PyExtents {
    lease: Lease<Ours<ringlog::Extents>>,
    pieces: Vec<Piece>,
    first_offset: u64,
    next_offset: u64,
    len_bytes: u64,
}

impl PyExtents {
    pub(crate) fn new(extents: ringlog::Extents) -> Self {
        let (first_offset, next_offset) = (extents.first_offset().0, extents.next_offset().0);
        let pieces = extents.iter().map(|extent| match extent {
            Extent::File { fd, offset, len } => Piece::File { fd: fd.as_raw_fd(), offset, len },
            Extent::Memory(bytes) => {
                let bytes: *const [u8] = &raw const bytes[..];
                // SAFETY: the bytes lie where the extents keep them; they are looked at only while
                // a use is counted, and so while the extents are there.
                Piece::Memory(unsafe { &*bytes })
            }
        });
        let (pieces, len_bytes) = (pieces.collect(), extents.len_bytes());
        let lease = Lease::new(Ours::new(extents));
        Self { lease, pieces, first_offset, next_offset, len_bytes }
    }

    /// Refused after `release()`, and in a forked child, where the files are not to be had.
    fn enter(&self, py: Python<'_>) -> PyResult<Use<'_, Ours<ringlog::Extents>>> {
        let entered = self.lease.enter();
        let entered = entered.ok_or_else(|| PyValueError::new_err("the extents were released"))?;
        entered.get(py)?;
        Ok(entered)
    }
}

#[pymethods]
impl PyExtents {
    /// The offset of the first record, which may lie before the one asked for, for batches are
    /// whole; the offset asked for if there is nothing.
    #[getter]
    fn first_offset(&self) -> u64 {
        self.first_offset
    }

    /// The offset after the last record: where to go on.
    #[getter]
    fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// The bytes of all pieces together.
    #[getter]
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// How many pieces there are; none, if the partition ended at the offset asked for.
    fn __len__(&self) -> usize {
        self.pieces.len()
    }

    /// Piece number `index`: a `FileExtent`, or a memoryview.
    fn __getitem__(slf: Bound<'_, Self>, index: isize) -> PyResult<Bound<'_, PyAny>> {
        let py = slf.py();
        guard(py, || {
            let this = slf.get();
            let entered = this.enter(py)?;
            let at = if index < 0 { index + this.pieces.len() as isize } else { index };
            let piece = usize::try_from(at).ok().and_then(|at| this.pieces.get(at).copied());
            let piece = piece.ok_or_else(|| PyIndexError::new_err("extent index out of range"))?;
            drop(entered);
            let extents = slf.clone().unbind();
            match piece {
                Piece::File { fd, offset, len } => {
                    Ok(Bound::new(py, PyFileExtent { extents, fd, offset, len })?.into_any())
                }
                Piece::Memory(bytes) => {
                    let held = Bound::new(py, PyMemoryExtent { extents, bytes })?;
                    Ok(PyMemoryView::from(held.as_any())?.into_any())
                }
            }
        })
    }

    /// Gives files and memory back now; what came from this then raises `ValueError`. Releasing
    /// again does nothing. `BufferError` while there are views.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let taken = self.lease.take().map_err(|uses| {
            PyBufferError::new_err(format!("{uses} views of the extents' memory exist"))
        })?;
        py.detach(|| drop(taken));
        Ok(())
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _class: Option<Bound<'_, PyAny>>,
        _error: Option<Bound<'_, PyAny>>,
        _traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.release(py)
    }

    fn __repr__(&self) -> String {
        let released = if self.lease.enter().is_some() { "" } else { ", released" };
        format!(
            "<ringlog.Extents offsets={}..{} pieces={} bytes={}{released}>",
            self.first_offset,
            self.next_offset,
            self.pieces.len(),
            self.len_bytes
        )
    }
}

/// A range of a file that holds whole batches, for
/// `os.sendfile(to, piece.fd, piece.offset, piece.len)`.
///
/// The descriptor is lent, open for reading only: do not close it, and do not use it once this and
/// its extents are gone. It keeps them pinned.
#[pyclass(frozen, module = "ringlog", name = "FileExtent")]
pub(crate) struct PyFileExtent {
    extents: Py<PyExtents>,
    fd: RawFd,
    offset: u64,
    len: u64,
}

#[pymethods]
impl PyFileExtent {
    /// The file's descriptor; `ValueError` once the extents were released.
    #[getter]
    fn fd(&self, py: Python<'_>) -> PyResult<RawFd> {
        self.extents.get().enter(py)?;
        Ok(self.fd)
    }

    /// Its first byte in the file.
    #[getter]
    fn offset(&self) -> u64 {
        self.offset
    }

    /// Its length in bytes.
    #[getter]
    fn len(&self) -> u64 {
        self.len
    }

    fn __repr__(&self) -> String {
        format!("<ringlog.FileExtent fd={} offset={} len={}>", self.fd, self.offset, self.len)
    }
}

/// What is still in memory: what a memoryview of it holds.
#[pyclass(frozen, module = "ringlog._ringlog", name = "_MemoryExtent")]
struct PyMemoryExtent {
    extents: Py<PyExtents>,
    bytes: &'static [u8],
}

#[pymethods]
impl PyMemoryExtent {
    // SAFETY: called by Python with a view to fill; the bytes are memory of the extents held.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let this = slf.get();
        let entered = this.extents.get().enter(slf.py())?;
        let bytes = || Some((this.bytes.as_ptr(), this.bytes.len()));
        // SAFETY: as above.
        unsafe { entered.export(slf.as_any(), view, flags, bytes) }
    }

    // SAFETY: called by Python once for each view that was filled.
    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.extents.get().lease.unexport();
    }
}
