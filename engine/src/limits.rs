//! Every maximum of the engine by name, and what must hold between them, checked at compile time.

use std::time::Duration;

/// Groups start on this boundary and are padded to it; a constant of the format.
pub const GROUP_ALIGN: usize = 4096;
/// Size of a group header.
pub const GROUP_HEADER_BYTES: usize = 64;
/// Size of a frame header.
pub const FRAME_HEADER_BYTES: usize = 32;
/// Frames start on this boundary.
pub const FRAME_ALIGN: usize = 8;
/// No frame is shorter, so that every claim has a slot of its own.
pub const FRAME_MIN_BYTES: usize = 64;
/// A segment's header fills its first block; groups follow.
pub const SEGMENT_HEADER_BYTES: usize = GROUP_ALIGN;
/// Size of a `RecordBatch` v2 header.
pub const BATCH_HEADER_BYTES: usize = 61;
/// The part of a record batch that its own CRC does not cover, and the frame's checksum does.
pub const BATCH_UNCOVERED_BYTES: usize = 21;

/// Largest payload of a frame: a 16-MiB value with room for key, headers and framing.
pub const PAYLOAD_BYTES_MAX: usize = (16 << 20) + (1 << 20);
/// Smallest accepted `max_payload_bytes`.
pub const PAYLOAD_BYTES_MIN: usize = 4 << 10;
/// Most records in one batch.
pub const BATCH_RECORDS_MAX: usize = 1 << 20;
/// Most bytes that the records of one batch may have once they are decompressed.
pub const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;
/// Longest topic name in bytes, as in Kafka.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;
/// Most partitions of a topic.
pub const TOPIC_PARTITIONS_MAX: u32 = 100_000;

/// Most shards, each a thread with an io_uring of its own.
pub const SHARDS_MAX: usize = 64;
/// Highest number of a log, so that every log's ops have names of their own in its shard.
pub const LOGS_MAX: u32 = 999;
/// Most partitions a log has ever had; bounds what hostile bytes can make us allocate.
pub const STREAMS_MAX: u32 = 1 << 20;

/// Largest loss window of an async log in bytes; multiples of it are added to positions.
pub const WINDOW_BYTES_MAX: u64 = 64 << 30;
/// Longest loss window of an async log in time.
pub const WINDOW_TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Smallest segment: header, one aligned group, and room for the closing one.
pub const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// Largest segment; offsets within one fit in 32 bits.
pub const SEGMENT_BYTES_MAX: u64 = 2 << 30;
/// Default size of a segment.
pub const SEGMENT_BYTES_DEFAULT: u64 = 128 << 20;
/// A log's first segment is small, so that an empty directory opens fast.
pub const SEGMENT_BYTES_FIRST: u64 = 1 << 20;
/// Most and fewest groups at the end of a segment that are kept for frames which free space.
pub const RESERVE_GROUPS_MAX: u64 = 64;
/// See [`RESERVE_GROUPS_MAX`].
pub const RESERVE_GROUPS_MIN: u64 = 4;
/// Least length of the file that is given back when a checkpoint finds no space: XFS makes no file
/// where there is less than some hundreds of KiB.
pub const RESERVE_FILE_BYTES: u64 = 1 << 20;
/// Segment size of the metadata log.
pub const META_SEGMENT_BYTES: u64 = 4 << 20;
/// Ring of the metadata log, private memory.
pub const META_RING_BYTES: usize = 256 << 10;
/// Largest payload in the metadata log.
pub const META_PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// Smallest ring.
pub const RING_BYTES_MIN: usize = 64 << 10;
/// Largest ring.
pub const RING_BYTES_MAX: usize = 1 << 30;
/// Default size of a ring.
pub const RING_BYTES_DEFAULT: usize = 4 << 20;
/// Rings together take at most this part of the memory there is.
pub const RINGS_MEMORY_DIVISOR: u64 = 16;
/// The control page that precedes the tail in a ring file.
pub const RING_CONTROL_BYTES: usize = 4096;
/// A frame above this part of the ring is its own group, written from private memory.
pub const RING_FRAME_DIVISOR: usize = 4;
/// How far ahead of the open group the ring's pages are faulted in.
pub const RING_POPULATE_BYTES: usize = 128 << 10;

/// Default of the size up to which appends of single records join one batch.
pub const BATCH_BYTES_DEFAULT: usize = 16 << 10;
/// Larger records get a batch each: its headers are next to nothing then.
pub const JOINING_RECORD_BYTES_MAX: usize = 2 << 10;
/// The same in a `sync` topic, where others wait while a batch is closed: 18 % for the headers.
pub const JOINING_SYNC_RECORD_BYTES_MAX: usize = 512;
/// A group in which a batch grows is closed after this long at the latest, because readers of other
/// processes do not see that batch before.
pub const GROWTH_TIME_MAX: Duration = Duration::from_millis(200);

/// A group that reaches this size is closed.
pub const GROUP_BYTES_MAX_DEFAULT: usize = 1 << 20;
/// Default of the most groups of one log in flight at once.
pub const GROUPS_IN_FLIGHT_DEFAULT: usize = 2;
/// While a durable write is in flight, the next group collects at least this much before it
/// follows: a small one alone would cost as much as the large one it might have become.
pub const FOLLOWING_GROUP_BYTES: u64 = 64 << 10;
/// Most groups of one log in flight at once.
pub const GROUPS_IN_FLIGHT_MAX: usize = 64;
/// A durable write up to this size that has nothing else beside it is made on the shard's thread.
pub const LONE_WRITE_BYTES: usize = 128 << 10;
/// Most submissions a completion queue holds.
pub const COMPLETIONS_MAX: usize = 1 << 20;
/// Most operations a driver holds at once.
pub const DRIVER_OPS_MAX: usize = 256;
/// Longest checkpoint, index or engine.meta that is read: what a log with every stream it may have,
/// and segments by the million, comes to; no stranger's file makes us allocate more.
pub const SMALL_FILE_BYTES_MAX: u64 = 256 << 20;
/// An index entry covers at most this much of one partition's run.
pub const INDEX_RUN_BYTES: u64 = 4096;
/// Bytes a reader copies at once, unless one batch is larger.
pub const READ_WINDOW_BYTES: usize = 256 << 10;
/// Bytes a reader fetches first, and after a jump; more as it goes on.
pub const FIRST_WINDOW_BYTES: usize = 32 << 10;
/// Bytes of a mapped segment that a reader faults in at once, unless one batch is larger.
pub const MAP_WINDOW_BYTES: usize = 1 << 20;
/// Most batches whose extents are given at once.
pub const EXTENT_BATCHES_MAX: usize = 4096;
/// Bytes whose extents a sender asks for at once.
pub const SEND_CHUNK_BYTES: u64 = 2 << 20;
/// Most pieces of memory that go into one call of the kernel's.
pub const SEND_PIECES_MAX: usize = 64;
/// Default of the most bytes that batches still held may pin.
pub const PINNED_BYTES_MAX_DEFAULT: u64 = 1 << 30;
/// Mapped segments that a log keeps when their last reader is gone.
pub const KEPT_MAPS_MAX: usize = 16;
/// Most bytes that these have.
pub const KEPT_BYTES_MAX: usize = 512 << 20;
/// Buffers of read windows that an engine keeps for the next ones.
pub const SPARE_WINDOWS_MAX: usize = 4;
/// What the readers of a topic's partitions fetch at once, together, while they have something.
pub const TOPIC_READ_WINDOWS_BYTES: usize = 32 << 20;
/// Least that each of them fetches at once.
pub const READ_WINDOW_BYTES_MIN: usize = 8 << 10;
/// Damaged places of a log that recovery tells one by one; what is beyond is counted.
pub const DAMAGED_PLACES_MAX: usize = 64;
/// How long after a scrub began the next one does, unless an option says otherwise.
pub const SCRUB_EVERY_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);
/// What a scrub reads before it pauses, unless one group is larger.
pub const SCRUB_PIECE_BYTES: u64 = 256 << 10;
/// Most findings that `verify` keeps; what is beyond is counted.
pub const FINDINGS_MAX: usize = 10_000;

const _: () = assert!(FRAME_HEADER_BYTES.is_multiple_of(FRAME_ALIGN));
const _: () = assert!(GROUP_HEADER_BYTES.is_multiple_of(FRAME_ALIGN));
const _: () = assert!(GROUP_HEADER_BYTES + FRAME_MIN_BYTES < GROUP_ALIGN);
const _: () = assert!(FRAME_HEADER_BYTES + BATCH_HEADER_BYTES >= FRAME_MIN_BYTES);
const _: () = assert!(DECOMPRESSED_BYTES_MAX >= PAYLOAD_BYTES_MAX);
const _: () = assert!(SEGMENT_BYTES_MAX <= u32::MAX as u64);
const _: () = assert!(META_SEGMENT_BYTES >= 2 * META_PAYLOAD_BYTES_MAX as u64);
const _: () = assert!(SEGMENT_BYTES_FIRST >= SEGMENT_BYTES_MIN);
