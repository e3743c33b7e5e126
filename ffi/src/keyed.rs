//! Appending to a topic: each record goes to the partition of its key.

use ringlog::RecordId;

use crate::append::append_options;
use crate::error::ringlog_error;
use crate::guard;
use crate::handle::{need, out};
use crate::input::{self, ringlog_bytes, ringlog_record};
use crate::sized::{self, OutArray, Plain};
use crate::status::ringlog_status;
use crate::topic::ringlog_topic;

/// Where a record is.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ringlog_record_id {
    /// Its offset in the partition.
    pub offset: u64,
    /// The partition.
    pub partition: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: integers without padding, as the size below shows.
unsafe impl Plain for ringlog_record_id {
    const NAME: &'static str = "ringlog_record_id";
    const FIRST_SIZE: usize = 16;
}

const _: () = assert!(size_of::<ringlog_record_id>() == 16);

fn id_of(id: RecordId) -> ringlog_record_id {
    ringlog_record_id { offset: id.offset.0, partition: id.partition.0, reserved: 0 }
}

/// Appends `n` records, each to the partition of its key (Kafka's default: murmur2; without a key
/// the next in turn), and waits for all acknowledgements. What goes to one partition is one batch
/// there, in the order given; nothing makes batches of several partitions whole or absent together.
/// `record_size` is sizeof(ringlog_record), `id_size` sizeof(ringlog_record_id). On success `ids`,
/// which may be NULL, has where each of the `n` records is. `flags` are `RINGLOG_APPEND_*`.
///
/// Thread-safe. Blocks up to `timeout_ns`, for room and for the acknowledgements.
/// Errors: as `ringlog_append`; `PARTLY_APPENDED` if some partitions took their part and others
/// did not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_topic_append(
    topic: *const ringlog_topic,
    records: *const ringlog_record,
    n: usize,
    record_size: usize,
    flags: u32,
    timeout_ns: i64,
    ids: *mut ringlog_record_id,
    id_size: usize,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or live, as the header asks.
        let topic = unsafe { need(topic) }?;
        let _entered = topic.enter()?;
        let wanted = if ids.is_null() { 0 } else { n };
        sized::check_size::<ringlog_record_id>(id_size)?;
        // SAFETY: NULL or valid for the call, as the header asks.
        let mut ids = unsafe { OutArray::new(ids, wanted, id_size) }?;
        let options = append_options(flags, timeout_ns)?;
        let append = |records: &[ringlog::Record<'_>]| match records {
            [record] => {
                let id = topic.topic.append_with(record.clone(), options)?;
                Ok(vec![id])
            }
            records => Ok(topic.topic.append_many_with(records, options)?.ids().to_vec()),
        };
        // SAFETY: the records are valid for the call, as the header asks.
        let appended = unsafe { input::with_records(records, n, record_size, append) }?;
        for (at, id) in appended.into_iter().enumerate().take(wanted) {
            ids.write(at, id_of(id));
        }
        Ok(())
    })
}

/// The partition that a record with this key goes to; with an absent key the next in turn. On
/// success it is in `*partition`.
///
/// Thread-safe, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_topic_partition_for(
    topic: *const ringlog_topic,
    key: ringlog_bytes,
    partition: *mut u32,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let (topic, key, partition) =
            unsafe { (need(topic)?, input::bytes(key)?, out(partition, "the partition")?) };
        let _entered = topic.enter()?;
        partition.write(topic.topic.partition_for(key).0);
        Ok(())
    })
}
