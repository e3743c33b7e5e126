//! A batch over Arrow's C data interface, and what `append_many` takes from there. No pyarrow is
//! needed: whoever knows the interface (pyarrow, polars, `DuckDB`, pandas) takes it. The columns
//! are the engine's ([`ringlog::arrow`]).

use std::ffi::{c_char, c_int};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};
use ringlog::Batch;
use ringlog::arrow::arrow_data::ffi::FFI_ArrowArray;
use ringlog::arrow::arrow_schema::ArrowError;
use ringlog::arrow::arrow_schema::ffi::FFI_ArrowSchema;
use ringlog::arrow::data_type;

use crate::error;
use crate::error::OrRaise as _;

/// The schema of every batch.
fn schema_of() -> Result<FFI_ArrowSchema, ArrowError> {
    FFI_ArrowSchema::try_from(&data_type())
}

/// The schema of every batch, as a capsule.
pub(crate) fn schema(py: Python<'_>) -> PyResult<Bound<'_, PyCapsule>> {
    let schema = schema_of().map_err(|error| error::internal(py, &error.to_string()))?;
    PyCapsule::new_with_value(py, schema, c"arrow_schema")
}

/// The records as schema and array.
pub(crate) fn array<'py>(py: Python<'py>, batch: &Batch) -> PyResult<Bound<'py, PyTuple>> {
    let data = batch.to_arrow().or_raise(py)?;
    let array = PyCapsule::new_with_value(py, FFI_ArrowArray::new(&data), c"arrow_array")?;
    PyTuple::new(py, [schema(py)?, array])
}

/// Whether `append_many` got something of Arrow's.
pub(crate) fn is_array(records: &Bound<'_, PyAny>) -> PyResult<bool> {
    records.hasattr(intern!(records.py(), "__arrow_c_array__"))
}

/// The members of an Arrow array of binary or strings: what lies in each, copied, or null.
pub(crate) fn values(records: &Bound<'_, PyAny>) -> PyResult<Vec<Option<Vec<u8>>>> {
    let pair = records.call_method0(intern!(records.py(), "__arrow_c_array__"))?;
    let (schema, array): (Bound<'_, PyCapsule>, Bound<'_, PyCapsule>) = pair.extract()?;
    let schema = schema.pointer_checked(Some(c"arrow_schema"))?.cast::<FFI_ArrowSchema>();
    let array = array.pointer_checked(Some(c"arrow_array"))?.cast::<FFI_ArrowArray>();
    // SAFETY: the capsules are named as the interface says what they hold, and live in this call,
    // which only reads them; their owner releases them.
    let (schema, array) = unsafe { (schema.as_ref(), array.as_ref()) };
    if array.is_released() || schema.release().is_none() {
        return Err(PyValueError::new_err("the Arrow array was released"));
    }
    let wide = match schema.format() {
        "z" | "u" => false,
        "Z" | "U" => true,
        other => {
            let text = format!("an Arrow array of binary or strings is required, not {other:?}");
            return Err(PyTypeError::new_err(text));
        }
    };
    if array.num_buffers() != 3 {
        return Err(PyValueError::new_err("an Arrow array of binary has three buffers"));
    }
    (0..array.len()).map(|at| member(array, wide, at)).collect()
}

#[expect(clippy::cast_ptr_alignment, reason = "read as what may lie anywhere")]
fn member(array: &FFI_ArrowArray, wide: bool, at: usize) -> PyResult<Option<Vec<u8>>> {
    let wrong = || PyValueError::new_err("the Arrow array's offsets are not in order");
    let at = at + array.offset();
    let (nulls, ends, bytes) = (array.buffer(0), array.buffer(1), array.buffer(2));
    // SAFETY: the interface says that the bitmap, if there is one, and the ends reach as far as
    // the array's offset and length do, and the bytes as far as the last end.
    unsafe {
        if !nulls.is_null() && *nulls.add(at / 8) & (1 << (at % 8)) == 0 {
            return Ok(None);
        }
        let (start, end) = if wide {
            let ends = ends.cast::<i64>();
            (ends.add(at).read_unaligned(), ends.add(at + 1).read_unaligned())
        } else {
            let ends = ends.cast::<i32>();
            let (start, end) = (ends.add(at).read_unaligned(), ends.add(at + 1).read_unaligned());
            (i64::from(start), i64::from(end))
        };
        let start = usize::try_from(start).map_err(|_| wrong())?;
        let len = usize::try_from(end).ok().and_then(|end| end.checked_sub(start));
        let len = len.ok_or_else(wrong)?;
        if len == 0 {
            return Ok(Some(Vec::new()));
        }
        Ok(Some(std::slice::from_raw_parts(bytes.add(start), len).to_vec()))
    }
}

/// Arrow's C stream interface, of which one batch is the shortest stream.
#[repr(C)]
struct Stream {
    get_schema: Option<unsafe extern "C" fn(*mut Stream, *mut FFI_ArrowSchema) -> c_int>,
    get_next: Option<unsafe extern "C" fn(*mut Stream, *mut FFI_ArrowArray) -> c_int>,
    get_last_error: Option<unsafe extern "C" fn(*mut Stream) -> *const c_char>,
    release: Option<unsafe extern "C" fn(*mut Stream)>,
    private_data: *mut Rest,
}

/// What is still to be given out.
struct Rest {
    array: Option<FFI_ArrowArray>,
}

// SAFETY: what it points to is its own, and is used only by who holds it.
unsafe impl Send for Stream {}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: not released yet, by us or by who moved it out of its capsule.
            unsafe { release(self) };
        }
    }
}

unsafe extern "C" fn get_schema(stream: *mut Stream, out: *mut FFI_ArrowSchema) -> c_int {
    match schema_of() {
        // SAFETY: the interface passes a place to write to; what is there is not released.
        Ok(schema) if !stream.is_null() => unsafe { out.write(schema) },
        _ => return libc::EINVAL,
    }
    0
}

unsafe extern "C" fn get_next(stream: *mut Stream, out: *mut FFI_ArrowArray) -> c_int {
    // SAFETY: the interface calls this on a stream that is not released, one call at a time, with
    // a place to write to.
    unsafe {
        let array = (*(*stream).private_data).array.take();
        out.write(array.unwrap_or_else(FFI_ArrowArray::empty));
    }
    0
}

unsafe extern "C" fn get_last_error(_stream: *mut Stream) -> *const c_char {
    c"the schema could not be made".as_ptr()
}

unsafe extern "C" fn release(stream: *mut Stream) {
    // SAFETY: the interface calls this once; the box was given up when the stream was made.
    unsafe {
        drop(Box::from_raw((*stream).private_data));
        (*stream).private_data = std::ptr::null_mut();
        (*stream).release = None;
    }
}

/// The records as a stream of one array.
pub(crate) fn stream<'py>(py: Python<'py>, batch: &Batch) -> PyResult<Bound<'py, PyCapsule>> {
    let data = batch.to_arrow().or_raise(py)?;
    let rest = Box::new(Rest { array: Some(FFI_ArrowArray::new(&data)) });
    let stream = Stream {
        get_schema: Some(get_schema),
        get_next: Some(get_next),
        get_last_error: Some(get_last_error),
        release: Some(release),
        private_data: Box::into_raw(rest),
    };
    PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
}
