//! What Python gives to append, as records that borrow it.
//!
//! `bytes` cannot change, so they are held and read in place, without the GIL if need be. Any other
//! buffer is copied first: its owner may write to it meanwhile.

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use ringlog::Record;

use crate::arrow;
use crate::error;
use crate::record::PyRecord;

/// Most records of one batch, and most bytes of it: the engine says no to more, but only after
/// something endless would have been taken in.
const RECORDS_MAX: usize = 1 << 20;
const BYTES_MAX: usize = (16 << 20) + (1 << 20);

/// A key, a value or a header's value.
pub(crate) enum Part {
    Absent,
    /// Of a `bytes` object, which is there to be held.
    Held {
        #[expect(dead_code, reason = "it keeps the bytes alive")]
        owner: Py<PyBytes>,
        bytes: &'static [u8],
    },
    Copied(Vec<u8>),
}

impl Part {
    /// A buffer, or `None`.
    pub(crate) fn of(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = value.cast::<PyBytes>() {
            let slice: *const [u8] = bytes.as_bytes();
            // SAFETY: a bytes object neither moves nor changes, and it is held beside the slice,
            // which leaves this type only for as long as the type is borrowed.
            let slice = unsafe { &*slice };
            return Ok(Self::Held { owner: bytes.clone().unbind(), bytes: slice });
        }
        if value.is_none() {
            return Ok(Self::Absent);
        }
        copy(value).map(Self::Copied)
    }

    pub(crate) fn get(&self) -> Option<&[u8]> {
        match self {
            Self::Absent => None,
            Self::Held { bytes, .. } => Some(bytes),
            Self::Copied(bytes) => Some(bytes),
        }
    }
}

/// The bytes of any contiguous buffer.
fn copy(value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let refuse = || {
        let name = value.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
        PyTypeError::new_err(format!("a bytes-like object or None is required, not '{name}'"))
    };
    let buffer = PyUntypedBuffer::get(value).map_err(|_| refuse())?;
    if !buffer.is_c_contiguous() {
        return Err(PyValueError::new_err("the buffer is not contiguous"));
    }
    let len = buffer.len_bytes();
    if len == 0 {
        return Ok(Vec::new());
    }
    let mut bytes = Vec::with_capacity(len);
    // SAFETY: the buffer is contiguous, `len` bytes long and exported until it is dropped; the copy
    // goes through raw pointers, so that a writer on another thread can at worst mix the bytes.
    unsafe {
        std::ptr::copy_nonoverlapping(buffer.buf_ptr().cast::<u8>(), bytes.as_mut_ptr(), len);
        bytes.set_len(len);
    }
    Ok(bytes)
}

/// A record as Python gave it.
pub(crate) struct Input {
    value: Part,
    key: Part,
    headers: Vec<(String, Part)>,
    timestamp_ms: Option<i64>,
}

impl Input {
    pub(crate) fn new(
        value: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        timestamp_ms: Option<i64>,
    ) -> PyResult<Self> {
        Ok(Self {
            value: Part::of(value)?,
            key: key.map_or(Ok(Part::Absent), Part::of)?,
            headers: headers.map_or(Ok(Vec::new()), pairs)?,
            timestamp_ms,
        })
    }

    /// A member of what `append_many` takes: a buffer, `None`, a dict, or a record that was read.
    fn of(item: &Bound<'_, PyAny>) -> PyResult<Self> {
        if !item.is_instance_of::<PyBytes>() {
            // A record is a buffer, too: over its value alone.
            if let Ok(record) = item.cast::<PyRecord>() {
                return record.get().to_input();
            }
            if let Ok(fields) = item.cast::<PyDict>() {
                return Self::of_fields(fields);
            }
        }
        Part::of(item).map(Self::of_value)
    }

    fn of_value(value: Part) -> Self {
        Self { value, key: Part::Absent, headers: Vec::new(), timestamp_ms: None }
    }

    fn of_fields(fields: &Bound<'_, PyDict>) -> PyResult<Self> {
        let (mut value, mut key, mut headers, mut timestamp_ms) = (None, None, None, None);
        for (name, field) in fields {
            let name = name.cast_into::<PyString>()?;
            match &*name.to_cow()? {
                "value" => value = Some(field),
                "key" => key = Some(field),
                "headers" => headers = Some(field).filter(|field| !field.is_none()),
                "timestamp_ms" => timestamp_ms = field.extract()?,
                other => {
                    let text =
                        format!("a record has no {other:?}: value, key, headers, timestamp_ms");
                    return Err(PyTypeError::new_err(text));
                }
            }
        }
        let missing = || PyTypeError::new_err("a record needs a \"value\", which may be None");
        Self::new(&value.ok_or_else(missing)?, key.as_ref(), headers.as_ref(), timestamp_ms)
    }

    pub(crate) fn copied(
        value: Option<&[u8]>,
        key: Option<&[u8]>,
        headers: Vec<(String, Option<Vec<u8>>)>,
        timestamp_ms: i64,
    ) -> Self {
        let part =
            |bytes: Option<&[u8]>| bytes.map_or(Part::Absent, |bytes| Part::Copied(bytes.to_vec()));
        let header = |(name, value): (String, Option<Vec<u8>>)| {
            (name, value.map_or(Part::Absent, Part::Copied))
        };
        Self {
            value: part(value),
            key: part(key),
            headers: headers.into_iter().map(header).collect(),
            timestamp_ms: Some(timestamp_ms),
        }
    }

    /// The record, borrowing this.
    pub(crate) fn record(&self) -> Record<'_> {
        let mut record = self.value.get().map_or_else(Record::null_value, Record::new);
        if let Some(key) = self.key.get() {
            record = record.key(key);
        }
        for (name, value) in &self.headers {
            record = record.header(name, value.get());
        }
        if let Some(timestamp_ms) = self.timestamp_ms {
            record = record.timestamp_ms(timestamp_ms);
        }
        record
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.key.get()
    }

    fn len_bytes(&self) -> usize {
        let part = |part: &Part| part.get().map_or(0, <[u8]>::len);
        let headers: usize = self.headers.iter().map(|(name, v)| name.len() + part(v)).sum();
        part(&self.value) + part(&self.key) + headers
    }
}

fn pairs(headers: &Bound<'_, PyAny>) -> PyResult<Vec<(String, Part)>> {
    let wrong =
        || PyTypeError::new_err("headers are pairs of a str and a bytes-like object or None");
    let mut out = Vec::new();
    for pair in headers.try_iter()? {
        let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) =
            pair?.extract().map_err(|_| wrong())?;
        let name = name.cast::<PyString>().map_err(|_| wrong())?;
        out.push((name.to_cow()?.into_owned(), Part::of(&value)?));
    }
    Ok(out)
}

/// Everything an iterable gives, as the records of one batch.
pub(crate) fn collect(items: &Bound<'_, PyAny>) -> PyResult<Vec<Input>> {
    if items.cast::<PyBytes>().is_ok() || items.cast::<PyString>().is_ok() {
        return Err(PyTypeError::new_err(
            "append_many takes an iterable of records, not one value",
        ));
    }
    let py = items.py();
    if arrow::is_array(items)? {
        let part = |value: Option<Vec<u8>>| value.map_or(Part::Absent, Part::Copied);
        return Ok(arrow::values(items)?.into_iter().map(part).map(Input::of_value).collect());
    }
    let expected = items.call_method0(intern!(py, "__len__")).and_then(|len| len.extract());
    let mut inputs = Vec::with_capacity(expected.unwrap_or(0_usize).min(RECORDS_MAX));
    let mut bytes = 0_usize;
    for item in items.try_iter()? {
        let input = Input::of(&item?)?;
        bytes = bytes.saturating_add(input.len_bytes());
        inputs.push(input);
        if inputs.len() > RECORDS_MAX || bytes > BYTES_MAX {
            return Err(error::too_large(py, RECORDS_MAX, BYTES_MAX));
        }
    }
    Ok(inputs)
}
