//! Topics and their partitions, which C calls streams.

use std::ffi::{CString, c_char};
use std::sync::Arc;

use ringlog::{Flush, Partition, Topic, TopicInfo};

use crate::engine::{enter, ringlog_engine};
use crate::error::{Failure, ringlog_error};
use crate::guard::{self, Entered, Health};
use crate::handle::{self, Handle, Tag, maybe_out, need, out};
use crate::input;
use crate::options::{
    RINGLOG_FLUSH_ASYNC, RINGLOG_FLUSH_SYNC, compression_number, ringlog_topic_options,
    timestamps_number,
};
use crate::sized::{self, OutArray, Plain};
use crate::status::ringlog_status;

/// A topic. Thread-safe; holds its engine open; the caller's until `ringlog_topic_free`.
pub struct ringlog_topic {
    tag: Tag,
    pub(crate) topic: Topic,
    name: CString,
    pub(crate) health: Arc<Health>,
}

impl Handle for ringlog_topic {
    const KIND: u64 = handle::kind(*b"topic   ");
    const NAME: &'static str = "ringlog_topic";

    fn tag(&self) -> &Tag {
        &self.tag
    }

    fn is_inherited(&self) -> bool {
        self.health.is_inherited()
    }
}

/// One partition of a topic. Thread-safe; holds its engine open; the caller's until
/// `ringlog_stream_free`.
pub struct ringlog_stream {
    tag: Tag,
    pub(crate) partition: Partition,
    pub(crate) health: Arc<Health>,
}

impl Handle for ringlog_stream {
    const KIND: u64 = handle::kind(*b"stream  ");
    const NAME: &'static str = "ringlog_stream";

    fn tag(&self) -> &Tag {
        &self.tag
    }

    fn is_inherited(&self) -> bool {
        self.health.is_inherited()
    }
}

/// The topics there were when the list was made. Immutable, thread-safe; the caller's until
/// `ringlog_topic_list_free`.
pub struct ringlog_topic_list {
    tag: Tag,
    topics: Vec<(TopicInfo, CString)>,
}

impl Handle for ringlog_topic_list {
    const KIND: u64 = handle::kind(*b"topics  ");
    const NAME: &'static str = "ringlog_topic_list";

    fn tag(&self) -> &Tag {
        &self.tag
    }
}

/// What a topic is.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ringlog_topic_info {
    /// Its name; belongs to the topic, or to the list, that it was asked of.
    pub name: *const c_char,
    /// Its identity: a topic that was deleted and made again has another.
    pub uuid: [u8; 16],
    /// How many partitions it has.
    pub partitions: u32,
    /// `RINGLOG_FLUSH_*`.
    pub flush: u32,
    /// `RINGLOG_COMPRESSION_*`; `UINT32_MAX`: one that this library has no number for.
    pub compression: u32,
    /// `RINGLOG_TIME_*`; `UINT32_MAX`: one that this library has no number for.
    pub timestamps: u32,
}

// SAFETY: a pointer and integers without padding, as the sizes below show.
unsafe impl Plain for ringlog_topic_info {
    const NAME: &'static str = "ringlog_topic_info";
    /// Up to `flush`.
    const FIRST_SIZE: usize = 32;
}

const _: () = assert!(size_of::<ringlog_topic_info>() == 40);

/// What a partition holds.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ringlog_stream_info {
    /// First retained offset.
    pub log_start: u64,
    /// Next offset to assign.
    pub end: u64,
    /// Everything below is on stable storage; a lower bound while appends are in flight.
    pub durable_end: u64,
    /// Its number in the topic.
    pub partition: u32,
    /// The log that holds it, `log-<number>`.
    pub log: u32,
    /// The shard that flushes this log as long as the engine is open.
    pub shard: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: integers without padding, as the sizes below show.
unsafe impl Plain for ringlog_stream_info {
    const NAME: &'static str = "ringlog_stream_info";
    /// Up to `log`.
    const FIRST_SIZE: usize = 32;
}

const _: () = assert!(size_of::<ringlog_stream_info>() == 40);

impl ringlog_topic {
    pub(crate) fn enter(&self) -> Result<Entered<'_>, Failure> {
        self.health.enter()
    }
}

/// The stream behind a handle, and the call that begins on it.
///
/// # Safety
/// `stream` is NULL or was given out and not freed, and is not freed during `'a`.
pub(crate) unsafe fn enter_stream<'a>(
    stream: *const ringlog_stream,
) -> Result<(&'a ringlog_stream, Entered<'a>), Failure> {
    // SAFETY: the caller's promise is the same.
    let stream = unsafe { need(stream) }?;
    Ok((stream, stream.health.enter()?))
}

fn give_topic(topic: Topic, health: &Arc<Health>) -> *mut ringlog_topic {
    let name = CString::new(topic.name()).unwrap_or_default();
    let tag = Tag::new::<ringlog_topic>();
    handle::give(ringlog_topic { tag, topic, name, health: Arc::clone(health) })
}

fn flush_number(flush: Flush) -> u32 {
    match flush {
        Flush::Sync => RINGLOG_FLUSH_SYNC,
        Flush::Async => RINGLOG_FLUSH_ASYNC,
    }
}

/// Makes a topic, durably. `options` may be NULL: one partition, sync. `topic` may be NULL; else on
/// success `*topic` is the caller's until `ringlog_topic_free`.
///
/// Thread-safe. Blocks until it is durable.
/// Errors: `TOPIC_EXISTS`, `INVALID_ARGUMENT` for a name or count out of range, `CLOSED`, and what
/// an append can meet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_topic_create(
    engine: *const ringlog_engine,
    name: *const c_char,
    options: *const ringlog_topic_options,
    topic: *mut *mut ringlog_topic,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let ((engine, _entered), name, options, topic) = unsafe {
            let name = input::name(name, "the topic's name")?;
            (enter(engine)?, name, sized::read_options(options)?, maybe_out(topic))
        };
        let made = engine.engine.create_topic(options.spec(name)?)?;
        if let Some(topic) = topic {
            topic.write(give_topic(made, &engine.health));
        }
        Ok(())
    })
}

/// The topic of this name. On success `*topic` is the caller's until `ringlog_topic_free`.
///
/// Thread-safe, never blocks.
/// Errors: `UNKNOWN_TOPIC`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_topic_open(
    engine: *const ringlog_engine,
    name: *const c_char,
    topic: *mut *mut ringlog_topic,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let ((engine, _entered), name, topic) = unsafe {
            (enter(engine)?, input::name(name, "the topic's name")?, out(topic, "the topic")?)
        };
        topic.write(give_topic(engine.engine.topic(name)?, &engine.health));
        Ok(())
    })
}

/// The topic of this name, made as `options` say if it is not there; one that is there stays as it
/// is. On success `*topic` is the caller's until `ringlog_topic_free`.
///
/// Thread-safe. Blocks until it is durable.
/// Errors: as `ringlog_topic_create`, without `TOPIC_EXISTS`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_topic_open_or_create(
    engine: *const ringlog_engine,
    name: *const c_char,
    options: *const ringlog_topic_options,
    topic: *mut *mut ringlog_topic,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let ((engine, _entered), name, options, topic) = unsafe {
            let name = input::name(name, "the topic's name")?;
            (enter(engine)?, name, sized::read_options(options)?, out(topic, "the topic")?)
        };
        let found = engine.engine.open_or_create_topic(options.spec(name)?)?;
        topic.write(give_topic(found, &engine.health));
        Ok(())
    })
}

/// Deletes a topic and all its records, durably. Handles to it, and its readers, get
/// `UNKNOWN_TOPIC` from then on.
///
/// Thread-safe. Blocks until it is durable.
/// Errors: `UNKNOWN_TOPIC`, and what an append can meet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_topic_delete(
    engine: *const ringlog_engine,
    name: *const c_char,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let ((engine, _entered), name) =
            unsafe { (enter(engine)?, input::name(name, "the topic's name")?) };
        Ok(engine.engine.delete_topic(name)?)
    })
}

/// What a topic is. `info_size` is sizeof(ringlog_topic_info); the name belongs to `topic`.
///
/// Thread-safe, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_topic_describe(
    topic: *const ringlog_topic,
    info: *mut ringlog_topic_info,
    info_size: usize,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let (topic, mut info) = unsafe { (need(topic)?, OutArray::new(info, 1, info_size)?) };
        let _entered = topic.enter()?;
        info.write(
            0,
            ringlog_topic_info {
                name: topic.name.as_ptr(),
                uuid: topic.topic.uuid().into_bytes(),
                partitions: topic.topic.partitions(),
                flush: flush_number(topic.topic.flush()),
                compression: compression_number(topic.topic.compression()),
                timestamps: timestamps_number(topic.topic.timestamps()),
            },
        );
        Ok(())
    })
}

/// Frees the handle; NULL is fine. Blocks only if it is the engine's last: see
/// `ringlog_engine_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_topic_free(topic: *mut ringlog_topic) {
    // SAFETY: NULL or the caller's own topic, not used again, as the header asks.
    guard::quietly(|| drop(unsafe { handle::take(topic) }));
}

/// Every topic there is now, by name. On success `*list` is the caller's until
/// `ringlog_topic_list_free`.
///
/// Thread-safe, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_topic_list_new(
    engine: *const ringlog_engine,
    list: *mut *mut ringlog_topic_list,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let ((engine, _entered), list) = unsafe { (enter(engine)?, out(list, "the list")?) };
        let topics = engine.engine.topics().into_iter();
        let topics = topics.map(|topic| {
            let name = CString::new(topic.name.as_str()).unwrap_or_default();
            (topic, name)
        });
        let tag = Tag::new::<ringlog_topic_list>();
        list.write(handle::give(ringlog_topic_list { tag, topics: topics.collect() }));
        Ok(())
    })
}

/// How many topics are in the list; 0 for NULL. Thread-safe, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_topic_list_len(list: *const ringlog_topic_list) -> usize {
    // SAFETY: NULL or a live list, as the header asks.
    unsafe { handle::get(list) }.map_or(0, |list| list.topics.len())
}

/// The topic at `index`, from 0. `info_size` is sizeof(ringlog_topic_info); the name belongs to
/// `list`.
///
/// Thread-safe, never blocks.
/// Errors: `INVALID_ARGUMENT` beyond the end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_topic_list_get(
    list: *const ringlog_topic_list,
    index: usize,
    info: *mut ringlog_topic_info,
    info_size: usize,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let (list, mut info) = unsafe { (need(list)?, OutArray::new(info, 1, info_size)?) };
        let Some((topic, name)) = list.topics.get(index) else {
            let count = list.topics.len();
            return Err(Failure::invalid(format!("topic {index} of a list of {count}")));
        };
        info.write(
            0,
            ringlog_topic_info {
                name: name.as_ptr(),
                uuid: topic.uuid.into_bytes(),
                partitions: topic.partition_count,
                flush: flush_number(topic.flush),
                compression: compression_number(topic.compression),
                timestamps: timestamps_number(topic.timestamps),
            },
        );
        Ok(())
    })
}

/// Frees a list; NULL is fine. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_topic_list_free(list: *mut ringlog_topic_list) {
    // SAFETY: NULL or the caller's own list, not used again, as the header asks.
    guard::quietly(|| drop(unsafe { handle::take(list) }));
}

/// One partition of a topic, numbered from 0. On success `*stream` is the caller's until
/// `ringlog_stream_free`; it may outlive `topic`.
///
/// Thread-safe, never blocks.
/// Errors: `UNKNOWN_PARTITION`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_stream_open(
    topic: *const ringlog_topic,
    partition: u32,
    stream: *mut *mut ringlog_stream,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let (topic, stream) = unsafe { (need(topic)?, out(stream, "the stream")?) };
        let _entered = topic.enter()?;
        let partition = topic.topic.partition(partition)?;
        let (tag, health) = (Tag::new::<ringlog_stream>(), Arc::clone(&topic.health));
        stream.write(handle::give(ringlog_stream { tag, partition, health }));
        Ok(())
    })
}

/// What the partition holds, now. `info_size` is sizeof(ringlog_stream_info).
///
/// Thread-safe, never blocks.
/// Errors: `UNKNOWN_TOPIC` if the topic was deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_stream_describe(
    stream: *const ringlog_stream,
    info: *mut ringlog_stream_info,
    info_size: usize,
    error: *mut *mut ringlog_error,
) -> ringlog_status {
    guard::call(error, || {
        // SAFETY: NULL or valid for the call, as the header asks.
        let ((stream, _entered), mut info) =
            unsafe { (enter_stream(stream)?, OutArray::new(info, 1, info_size)?) };
        let found = stream.partition.info()?;
        info.write(
            0,
            ringlog_stream_info {
                log_start: found.log_start.0,
                end: found.end.0,
                durable_end: found.durable_end.0,
                partition: found.id.0,
                log: found.log,
                shard: found.shard as u32,
                reserved: 0,
            },
        );
        Ok(())
    })
}

/// Frees the handle; NULL is fine. Blocks only if it is the engine's last: see
/// `ringlog_engine_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ringlog_stream_free(stream: *mut ringlog_stream) {
    // SAFETY: NULL or the caller's own stream, not used again, as the header asks.
    guard::quietly(|| drop(unsafe { handle::take(stream) }));
}
