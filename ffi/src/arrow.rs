//! Batches as columns of Apache Arrow, over its C data interface.

use ringlog::arrow::arrow_data::ffi::FFI_ArrowArray;
use ringlog::arrow::arrow_schema::ffi::FFI_ArrowSchema;
use ringlog::arrow::{data_type, to_arrow};

use crate::batch::ringlog_batch;
use crate::error::{Failure, ringlog_error};
use crate::guard;
use crate::handle::{need, out};
use crate::status::{RINGLOG_E_OTHER, ringlog_status};

/// All records of a batch as columns: a struct array of partition (uint32), offset (int64),
/// timestamp (milliseconds, UTC), key and value (binary, may be null) and headers (a list of
/// structs of key, utf8, and value, binary, may be null). A copy: it outlives batch, engine and
/// topic.
///
/// `struct ArrowSchema` and `struct ArrowArray` are those of Arrow's C data interface, and come
/// from a header of the taker's. What is in `*schema` and `*array` before is written over. On
/// success each is the caller's, to be given back by its `release`, from any thread, or passed on
/// to whoever takes them over.
///
/// Thread-safe. Never blocks.
/// Errors: `TOO_LARGE` if a column would have over 2 GiB; `INVALID_BATCH` if the bytes are damaged
/// and the reader did not verify.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_batch_to_arrow(
    batch: *const ringlog_batch,
    schema: *mut FFI_ArrowSchema,
    array: *mut FFI_ArrowArray,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let (batch, schema, array) =
            unsafe { (need(batch)?, out(schema, "the schema")?, out(array, "the array")?) };
        let _entered = batch.health.enter()?;
        let data = to_arrow(&*batch.parts)?;
        let described = FFI_ArrowSchema::try_from(&data_type())
            .map_err(|error| Failure::new(RINGLOG_E_OTHER, 0, error.to_string()))?;
        array.write(FFI_ArrowArray::new(&data));
        schema.write(described);
        Ok(())
    })
}
