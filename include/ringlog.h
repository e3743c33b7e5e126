/*
 * Ringlog: a durable commit log that lives in your process.
 *
 * Made by cbindgen from the package `ringlog-ffi`; do not edit.
 *
 * What holds for every function:
 *
 * - What `_open`, `_create`, `_new` or `_ref` gives is the caller's until its `_free`, which
 *   accepts NULL. A borrowed pointer names its owner.
 * - A handle must not be used during or after its `_free`. Otherwise a handle may be used by any
 *   number of threads at once where its type says so.
 * - Inputs are copied before a call returns. Outputs are written on success only. `error` may be
 *   NULL; where it is not, a failed call puts an error there, which is the caller's until
 *   `ringlog_error_free`. A successful call does not touch it.
 * - Options begin with their size; all other fields may be zero, which is their default. An array
 *   goes with the size of its elements. So an older header works with a newer library, and a newer
 *   header with an older library as long as it asks for nothing that this does not know.
 * - Timeouts are in nanoseconds: `RINGLOG_FOREVER`, `RINGLOG_DEFAULT_TIMEOUT`, or 0 and above.
 * - Errors are named here without their `RINGLOG_E_`. Any call can give INVALID_ARGUMENT, for NULL
 *   where there must be something; CLOSED after `ringlog_close`; FORKED in a child; and PANIC.
 * - Nothing unwinds or jumps out of a call, and none calls back.
 */

#ifndef RINGLOG_H
#define RINGLOG_H

#include <stddef.h>
#include <stdint.h>

#define RINGLOG_VERSION_MAJOR 0
#define RINGLOG_VERSION_MINOR 1
#define RINGLOG_VERSION_PATCH 0
#define RINGLOG_VERSION_STRING "0.1.0"
/* Grows with every release; what `ringlog_version` answers. */
#define RINGLOG_VERSION \
    (RINGLOG_VERSION_MAJOR * 1000000 + RINGLOG_VERSION_MINOR * 1000 + RINGLOG_VERSION_PATCH)

/* Of Arrow's C data interface; a header of Arrow's defines them. */
struct ArrowSchema;
struct ArrowArray;


/*
 Acknowledge when written: survives the process. Neither this nor durable: as the topic says.
 */
#define RINGLOG_APPEND_WRITTEN 1

/*
 Acknowledge when durable: survives a power loss.
 */
#define RINGLOG_APPEND_DURABLE 2

/*
 Do not wait for room: `BUSY` if the ring is full.
 */
#define RINGLOG_APPEND_NO_WAIT 4

/*
 Do not compress the batch. This or another of `RINGLOG_APPEND_COMPRESSION_*`, or none: as the
 topic says. A ready-made batch stays as it is.
 */
#define RINGLOG_APPEND_COMPRESSION_NONE 8

/*
 Compress the batch with gzip.
 */
#define RINGLOG_APPEND_COMPRESSION_GZIP 16

/*
 Compress the batch with snappy.
 */
#define RINGLOG_APPEND_COMPRESSION_SNAPPY 32

/*
 Compress the batch with lz4.
 */
#define RINGLOG_APPEND_COMPRESSION_LZ4 64

/*
 Compress the batch with zstd.
 */
#define RINGLOG_APPEND_COMPRESSION_ZSTD 128

/*
 The view's timestamp is the time of its append, not its record's own.
 */
#define RINGLOG_VIEW_APPEND_TIME 1

/*
 A completion of `ringlog_submit_append` or `ringlog_submit_batch`.
 */
#define RINGLOG_OP_APPEND 1

/*
 A completion of `ringlog_submit_read` or `ringlog_submit_topic_read`.
 */
#define RINGLOG_OP_READ 2

/*
 A completion of `ringlog_submit_flush`.
 */
#define RINGLOG_OP_FLUSH 3

/*
 The same call may succeed later without anything else being done.
 */
#define RINGLOG_ERROR_RETRIABLE 1

/*
 Nothing will succeed until the engine is opened again, or the data restored.
 */
#define RINGLOG_ERROR_FATAL 2

/*
 An append that failed with this may nevertheless be, or become, part of the log.
 */
#define RINGLOG_ERROR_OUTCOME_UNKNOWN 4

/*
 A fault of the library itself. The engine takes no more calls through its handles; close it.
 */
#define RINGLOG_ERROR_PANIC 8

/*
 A timeout: as long as it takes.
 */
#define RINGLOG_FOREVER -1

/*
 A timeout: what the engine's options say.
 */
#define RINGLOG_DEFAULT_TIMEOUT -2

/*
 A record's `timestamp_ms` of 0 stands for the engine's clock; this stands for 1970.
 */
#define RINGLOG_TIMESTAMP_ZERO INT64_MIN

/*
 Routine of the inside: segments, checkpoints.
 */
#define RINGLOG_LOG_DEBUG 0

/*
 Opened, closed, a topic made.
 */
#define RINGLOG_LOG_INFO 1

/*
 It goes on, with less: a fallback, something lost to a crash, no space.
 */
#define RINGLOG_LOG_WARN 2

/*
 A log takes no more appends.
 */
#define RINGLOG_LOG_ERROR 3

/*
 Refuse a directory that is not there, instead of making it.
 */
#define RINGLOG_OPEN_NO_CREATE 1

/*
 Open on a filesystem that keeps nothing over a power loss: *durable* is then no more than its
 flush.
 */
#define RINGLOG_OPEN_ALLOW_VOLATILE 2

/*
 Keep each shard's thread on a processor of its own.
 */
#define RINGLOG_OPEN_PIN_SHARDS 4

/*
 Read sealed segments by copy instead of through mappings.
 */
#define RINGLOG_OPEN_NO_MMAP 8

/*
 Only read: beside a writer of another process, or without one. Nothing is created, repaired or
 locked; appends and changes of topics get `READ_ONLY`.
 */
#define RINGLOG_OPEN_READ_ONLY 16

/*
 Start no thread: the caller's own turn the shards, in `ringlog_run_once` and in every call that
 blocks. The first thread that turns a shard owns it; close, and free the last handle, there.
 */
#define RINGLOG_OPEN_CALLER_DRIVEN 32

/*
 io_uring where it is there and allowed, else plain.
 */
#define RINGLOG_BACKEND_AUTO 0

/*
 io_uring, or an error that says why not.
 */
#define RINGLOG_BACKEND_URING 1

/*
 pwritev2 and fdatasync; same guarantees.
 */
#define RINGLOG_BACKEND_PLAIN 2

/*
 A topic whose appends are acknowledged when durable: they survive a power loss.
 */
#define RINGLOG_FLUSH_SYNC 0

/*
 A topic whose appends are acknowledged when written: they survive the process.
 */
#define RINGLOG_FLUSH_ASYNC 1

/*
 Batches as they are.
 */
#define RINGLOG_COMPRESSION_NONE 0

/*
 Small, and slow.
 */
#define RINGLOG_COMPRESSION_GZIP 1

/*
 Fast.
 */
#define RINGLOG_COMPRESSION_SNAPPY 2

/*
 Fast, and the fastest to read.
 */
#define RINGLOG_COMPRESSION_LZ4 3

/*
 Small, and less slow.
 */
#define RINGLOG_COMPRESSION_ZSTD 4

/*
 Records keep the time that they were given, or the engine's when they were appended.
 */
#define RINGLOG_TIME_CREATE 0

/*
 Records have the time of their append, whatever they were given.
 */
#define RINGLOG_TIME_APPEND 1

/*
 At the first retained record; `at` is not used.
 */
#define RINGLOG_START_EARLIEST 0

/*
 After the newest record; `at` is not used.
 */
#define RINGLOG_START_LATEST 1

/*
 At the offset `at`.
 */
#define RINGLOG_START_OFFSET 2

/*
 At the first record of the time `at`, in milliseconds since 1970, or later; after the newest
 record if there is none, so that one which comes is not missed.
 */
#define RINGLOG_START_TIME 3

/*
 Do not verify each batch's checksum. Frames are proven either way.
 */
#define RINGLOG_READ_NO_VERIFY 1

/*
 What stands for an offset where no record is meant.
 */
#define RINGLOG_NO_OFFSET UINT64_MAX

/*
 The binary interface that this header speaks. It grows with every incompatible change; a
 library takes every header down to the oldest it names.
 */
#define RINGLOG_ABI 1

/*
 One or more record batches, as a reader gave them. Immutable, thread-safe, counted: each
 `ringlog_batch_ref` asks for one more `ringlog_batch_free`.
 */
typedef struct ringlog_batch ringlog_batch;

/*
 A completion queue: any thread submits, one at a time polls. Holds its engine open; the caller's
 until `ringlog_cq_free`.
 */
typedef struct ringlog_cq ringlog_cq;

/*
 An open data directory. Thread-safe; the caller's until `ringlog_engine_free`.
 */
typedef struct ringlog_engine ringlog_engine;

/*
 What went wrong. Immutable, thread-safe; the caller's until `ringlog_error_free`.
 */
typedef struct ringlog_error ringlog_error;

/*
 Where whole record batches of a partition lie. Immutable, thread-safe; the caller's until
 `ringlog_extents_free`, and until then the files are used for nothing else.
 */
typedef struct ringlog_extents ringlog_extents;

/*
 Reads one partition, one thread at a time. Holds its engine open; the caller's until
 `ringlog_reader_free`.
 */
typedef struct ringlog_reader ringlog_reader;

/*
 Sends the batches of a partition one after the other, keeping its place. One thread at a time;
 holds its engine open; the caller's until `ringlog_sender_free`.
 */
typedef struct ringlog_sender ringlog_sender;

/*
 One partition of a topic. Thread-safe; holds its engine open; the caller's until
 `ringlog_stream_free`.
 */
typedef struct ringlog_stream ringlog_stream;

/*
 A text. Immutable, thread-safe; the caller's until `ringlog_text_free`.
 */
typedef struct ringlog_text ringlog_text;

/*
 A topic. Thread-safe; holds its engine open; the caller's until `ringlog_topic_free`.
 */
typedef struct ringlog_topic ringlog_topic;

/*
 The topics there were when the list was made. Immutable, thread-safe; the caller's until
 `ringlog_topic_list_free`.
 */
typedef struct ringlog_topic_list ringlog_topic_list;

/*
 Reads all partitions of a topic, one thread at a time. Holds its engine open; the caller's until
 `ringlog_topic_reader_free`.
 */
typedef struct ringlog_topic_reader ringlog_topic_reader;

/*
 0: done; below 0: one of `RINGLOG_E_*`. Not an enum, so that a newer library may say more.
 */
typedef int32_t ringlog_status;

/*
 Bytes that somebody else owns. `ptr` NULL: absent; not NULL with `len` 0: there, and empty.
 */
typedef struct ringlog_bytes {
  /*
   Where they begin.
   */
  const void *ptr;
  /*
   How many.
   */
  size_t len;
} ringlog_bytes;

/*
 A header of a record; a name may occur more than once, and the order is kept.
 */
typedef struct ringlog_header {
  /*
   Its name, UTF-8; never absent.
   */
  struct ringlog_bytes key;
  /*
   Its value, or absent.
   */
  struct ringlog_bytes value;
} ringlog_header;

/*
 A record to append. All zeroes is a record without key, value and headers.
 */
typedef struct ringlog_record {
  /*
   Its key, or absent.
   */
  struct ringlog_bytes key;
  /*
   Its value, or absent, which is not the same as empty: a tombstone for its key.
   */
  struct ringlog_bytes value;
  /*
   Its headers; may be NULL if there are none.
   */
  const struct ringlog_header *headers;
  /*
   How many.
   */
  size_t n_headers;
  /*
   Milliseconds since 1970; 0: the engine's clock.
   */
  int64_t timestamp_ms;
} ringlog_record;

/*
 A record, seen in its batch, which owns what it points to.
 */
typedef struct ringlog_view {
  /*
   Its offset in its partition.
   */
  uint64_t offset;
  /*
   Milliseconds since 1970.
   */
  int64_t timestamp_ms;
  /*
   Its key, or absent.
   */
  struct ringlog_bytes key;
  /*
   Its value, or absent.
   */
  struct ringlog_bytes value;
  /*
   Its headers, encoded: see `ringlog_header_next`.
   */
  struct ringlog_bytes headers;
  /*
   `RINGLOG_VIEW_*` added up.
   */
  uint32_t flags;
  /*
   The partition it was read from.
   */
  uint32_t partition;
} ringlog_view;

/*
 What came of a submission.
 */
typedef struct ringlog_completion {
  /*
   As it was submitted.
   */
  uint64_t tag;
  /*
   `RINGLOG_OK`, or what went wrong.
   */
  ringlog_status status;
  /*
   `RINGLOG_OP_*`.
   */
  uint32_t op;
  /*
   The partition appended to or read from; 0 of a flush, and of a topic's read that failed.
   */
  uint32_t partition;
  /*
   0.
   */
  uint32_t reserved;
  /*
   Of the first record appended; of the first record of a batch read.
   */
  uint64_t first_offset;
  /*
   Of the last.
   */
  uint64_t last_offset;
  /*
   What was read, the caller's until `ringlog_batch_free`; otherwise NULL.
   */
  struct ringlog_batch *batch;
  /*
   What went wrong, the caller's until `ringlog_error_free`; NULL if nothing did.
   */
  struct ringlog_error *error;
} ringlog_completion;

/*
 Hears what an engine does: `level` is `RINGLOG_LOG_*`, `name` says for programs what it is and
 is never renamed ("opened", "latched"), `message` for people, with all its numbers. Both
 texts are the library's, and gone when the function returns.

 Called from whichever thread it happens on, the engine's own among them, where it holds up the
 log: it must not block, must not call the engine, and must return.
 */
typedef void (*ringlog_log_fn)(void *context, uint32_t level, const char *name, const char *message);

/*
 How an engine is opened. Set `size` to its sizeof and what is not wanted to zero.
 */
typedef struct ringlog_open_options {
  /*
   sizeof(ringlog_open_options).
   */
  size_t size;
  /*
   `RINGLOG_OPEN_*` added up.
   */
  uint32_t flags;
  /*
   `RINGLOG_BACKEND_*`.
   */
  uint32_t backend;
  /*
   Size of a segment file, a multiple of 4096. 0: 128 MiB.
   */
  uint64_t segment_bytes;
  /*
   Size of a log's ring, a power of two. 0: 4 MiB.
   */
  uint64_t ring_bytes;
  /*
   A group is closed at this size. 0: 1 MiB, or half the ring if that is less.
   */
  uint64_t group_bytes;
  /*
   Largest batch. 0: 17 MiB, or half a segment if that is less.
   */
  uint64_t max_payload_bytes;
  /*
   The loss window of async topics in bytes. 0: 16 MiB.
   */
  uint64_t async_window_bytes;
  /*
   The loss window of async topics in time. 0: 200 ms.
   */
  int64_t async_window_ns;
  /*
   Deadline of appends that name none. 0: 30 s.
   */
  int64_t append_timeout_ns;
  /*
   How long to wait for another holder of the directory. 0: 5 s; `RINGLOG_FOREVER` works, and
   a nanosecond does not wait.
   */
  int64_t lock_timeout_ns;
  /*
   How long the last `_free` may take to flush. 0: 30 s.
   */
  int64_t close_timeout_ns;
  /*
   How many shards, each a thread with logs of its own. 0: one.
   */
  uint32_t shards;
  /*
   Most groups of one log being written at once. 0: two.
   */
  uint32_t groups_in_flight;
  /*
   Most bytes that batches and extents still held may pin. 0: 1 GiB.
   */
  uint64_t pinned_bytes_max;
  /*
   Hears what the engine does, from its first event on; may be NULL.
   */
  ringlog_log_fn log;
  /*
   What `log` is called with. It must live until the engine's last handle is freed.
   */
  void *log_context;
  /*
   Sealed segments are read again in the background, at most so many bytes per second, and
   what has rotted is told as the event `damaged` before a reader meets it. 0: they are not.
   */
  uint64_t scrub_bytes_per_second;
  /*
   A pass begins this long after the one before began. 0: a day.
   */
  int64_t scrub_every_ns;
  /*
   Single records of up to 2 KiB (512 bytes in sync topics) that one partition gets one after
   the other join one batch up to this size. 0: 16 KiB; 1: each is a batch of its own.
   */
  uint64_t batch_bytes;
} ringlog_open_options;

/*
 One piece: a range of a file, or bytes in memory. Both belong to the extents: do not close the
 descriptor, nor use it after them.
 */
typedef struct ringlog_extent {
  /*
   A file open for reading only; -1: the piece is in memory.
   */
  int32_t fd;
  /*
   0.
   */
  uint32_t reserved;
  /*
   Its first byte in the file.
   */
  uint64_t offset;
  /*
   Its length in bytes.
   */
  uint64_t len;
  /*
   Its bytes in memory; NULL of a file.
   */
  const uint8_t *memory;
} ringlog_extent;

/*
 What of a partition a sender has sent.
 */
typedef struct ringlog_sent {
  /*
   The offset after the last record batch that was sent whole, by this call or before.
   */
  uint64_t next_offset;
  /*
   Bytes taken by the descriptor in this call.
   */
  uint64_t bytes;
  /*
   1: everything asked for was sent. 0: the peer may have a part of a batch, and the next call
   goes on with the rest of it.
   */
  uint32_t complete;
  /*
   0.
   */
  uint32_t reserved;
} ringlog_sent;

/*
 Where a record is.
 */
typedef struct ringlog_record_id {
  /*
   Its offset in the partition.
   */
  uint64_t offset;
  /*
   The partition.
   */
  uint32_t partition;
  /*
   0.
   */
  uint32_t reserved;
} ringlog_record_id;

/*
 What a new topic shall be. Set `size` to its sizeof and what is not wanted to zero.
 */
typedef struct ringlog_topic_options {
  /*
   sizeof(ringlog_topic_options).
   */
  size_t size;
  /*
   How many partitions. 0: one.
   */
  uint32_t partitions;
  /*
   `RINGLOG_FLUSH_*`.
   */
  uint32_t flush;
  /*
   How its batches are compressed, `RINGLOG_COMPRESSION_*`.
   */
  uint32_t compression;
  /*
   Whose time its records have, `RINGLOG_TIME_*`.
   */
  uint32_t timestamps;
} ringlog_topic_options;

/*
 What a topic is.
 */
typedef struct ringlog_topic_info {
  /*
   Its name; belongs to the topic, or to the list, that it was asked of.
   */
  const char *name;
  /*
   Its identity: a topic that was deleted and made again has another.
   */
  uint8_t uuid[16];
  /*
   How many partitions it has.
   */
  uint32_t partitions;
  /*
   `RINGLOG_FLUSH_*`.
   */
  uint32_t flush;
  /*
   `RINGLOG_COMPRESSION_*`; `UINT32_MAX`: one that this library has no number for.
   */
  uint32_t compression;
  /*
   `RINGLOG_TIME_*`; `UINT32_MAX`: one that this library has no number for.
   */
  uint32_t timestamps;
} ringlog_topic_info;

/*
 What a partition holds.
 */
typedef struct ringlog_stream_info {
  /*
   First retained offset.
   */
  uint64_t log_start;
  /*
   Next offset to assign.
   */
  uint64_t end;
  /*
   Everything below is on stable storage; a lower bound while appends are in flight.
   */
  uint64_t durable_end;
  /*
   Its number in the topic.
   */
  uint32_t partition;
  /*
   The log that holds it, `log-<number>`.
   */
  uint32_t log;
  /*
   The shard that flushes this log as long as the engine is open.
   */
  uint32_t shard;
  /*
   0.
   */
  uint32_t reserved;
} ringlog_stream_info;

/*
 Done.
 */
#define RINGLOG_OK 0

/*
 An argument or option is out of its documented range; nothing happened.
 */
#define RINGLOG_E_INVALID_ARGUMENT -1

/*
 No topic has this name.
 */
#define RINGLOG_E_UNKNOWN_TOPIC -2

/*
 A topic of this name is there already.
 */
#define RINGLOG_E_TOPIC_EXISTS -3

/*
 The topic has fewer partitions.
 */
#define RINGLOG_E_UNKNOWN_PARTITION -4

/*
 A record, batch or number is over the limit; nothing was written.
 */
#define RINGLOG_E_TOO_LARGE -5

/*
 Bytes given as a record batch are none; nothing was written.
 */
#define RINGLOG_E_INVALID_BATCH -6

/*
 The offset lies before the log start or beyond the end.
 */
#define RINGLOG_E_OFFSET_OUT_OF_RANGE -7

/*
 No room in the ring right now; nothing was written.
 */
#define RINGLOG_E_BUSY -8

/*
 The deadline passed.
 */
#define RINGLOG_E_TIMEOUT -9

/*
 Another process, or another engine of this one, holds the directory.
 */
#define RINGLOG_E_LOCKED -10

/*
 No space to allocate a segment; nothing was accepted. Appends resume when there is.
 */
#define RINGLOG_E_NO_SPACE -11

/*
 The engine is closed, or closing.
 */
#define RINGLOG_E_CLOSED -12

/*
 A write or flush failed: no appends until the engine is opened again. Reads go on.
 */
#define RINGLOG_E_LATCHED -13

/*
 Bytes on disk are proven damaged. Nothing was changed.
 */
#define RINGLOG_E_CORRUPT -14

/*
 The directory holds something else; nothing was touched.
 */
#define RINGLOG_E_NOT_A_DATA_DIRECTORY -15

/*
 The files are of another format version; nothing was touched.
 */
#define RINGLOG_E_UNSUPPORTED_FORMAT -16

/*
 The engine was opened read-only, or the directory cannot be written.
 */
#define RINGLOG_E_READ_ONLY -17

/*
 This filesystem keeps nothing over a power loss.
 */
#define RINGLOG_E_NOT_DURABLE -18

/*
 The operating system refused an operation: see `ringlog_error_errno`.
 */
#define RINGLOG_E_IO -19

/*
 Too many bytes are pinned by batches or extents; free some.
 */
#define RINGLOG_E_PINNED -20

/*
 A socket failed, or its peer went away.
 */
#define RINGLOG_E_PEER -21

/*
 The handle is from before a fork. In the child it can only be freed, which leaks it.
 */
#define RINGLOG_E_FORKED -22

/*
 A fault of the library itself. The engine takes no more calls; close it.
 */
#define RINGLOG_E_PANIC -23

/*
 The header does not fit the library.
 */
#define RINGLOG_E_ABI -24

/*
 Another call, or a submitted read, uses the reader.
 */
#define RINGLOG_E_IN_USE -25

/*
 As many submissions wait in the queue as it takes; poll first.
 */
#define RINGLOG_E_QUEUE_FULL -26

/*
 An error that this library has no code for; the message says what.
 */
#define RINGLOG_E_OTHER -27

/*
 Some partitions took their part of an append, others did not.
 */
#define RINGLOG_E_PARTLY_APPENDED -28

/*
 In caller-driven mode: another thread turned this shard first, and it is that thread's.
 */
#define RINGLOG_E_WRONG_THREAD -29

/*
 A reader beside a writer had read what that lost with its device, and the next writer does not
 have. The reader stays where it is; seek, to go on.
 */
#define RINGLOG_E_TRUNCATED -30

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 Appends `n` records as one batch, whole or absent after any crash, and waits for the
 acknowledgement: the topic's, or that of `flags` (`RINGLOG_APPEND_*`). `record_size` is
 sizeof(ringlog_record). On success `*first_offset`, which may be NULL, is the first record's
 offset; the others follow it.

 Thread-safe. Blocks up to `timeout_ns`, for room and for the acknowledgement.
 Errors: `INVALID_ARGUMENT`, `TOO_LARGE`, `BUSY`, `NO_SPACE`, `UNKNOWN_TOPIC`: nothing was
 written. `TIMEOUT`, `LATCHED`, `CLOSED`: `RINGLOG_ERROR_OUTCOME_UNKNOWN` says whether it may be.
 */
ringlog_status ringlog_append(const struct ringlog_stream *stream,
                              const struct ringlog_record *records,
                              size_t n,
                              size_t record_size,
                              uint32_t flags,
                              int64_t timeout_ns,
                              uint64_t *first_offset,
                              struct ringlog_error **error);

/*
 Appends a ready-made Kafka RecordBatch v2, whole: checked first, its base offset and leader
 epoch replaced, every other byte kept. Otherwise as `ringlog_append`.

 Thread-safe. Blocks up to `timeout_ns`.
 Errors: as `ringlog_append`, and `INVALID_BATCH`.
 */
ringlog_status ringlog_append_batch(const struct ringlog_stream *stream,
                                    struct ringlog_bytes batch,
                                    uint32_t flags,
                                    int64_t timeout_ns,
                                    uint64_t *first_offset,
                                    struct ringlog_error **error);

/*
 Gives up every record below `offset`, durably. Readers start at `offset` from then on; trimming
 below the log start does nothing.

 Thread-safe. Blocks until the new log start is durable.
 Errors: `OFFSET_OUT_OF_RANGE` beyond the end; otherwise as `ringlog_append`.
 */
ringlog_status ringlog_trim(const struct ringlog_stream *stream,
                            uint64_t offset,
                            struct ringlog_error **error);

/*
 All records of a batch as columns: a struct array of partition (uint32), offset (int64),
 timestamp (milliseconds, UTC), key and value (binary, may be null) and headers (a list of
 structs of key, utf8, and value, binary, may be null). A copy: it outlives batch, engine and
 topic.

 `struct ArrowSchema` and `struct ArrowArray` are those of Arrow's C data interface, and come
 from a header of the taker's. What is in `*schema` and `*array` before is written over. On
 success each is the caller's, to be given back by its `release`, from any thread, or passed on
 to whoever takes them over.

 Thread-safe. Never blocks.
 Errors: `TOO_LARGE` if a column would have over 2 GiB; `INVALID_BATCH` if the bytes are damaged
 and the reader did not verify.
 */
ringlog_status ringlog_batch_to_arrow(const struct ringlog_batch *batch,
                                      struct ArrowSchema *schema,
                                      struct ArrowArray *array,
                                      struct ringlog_error **error);

/*
 How many records it has; 0 for NULL. Thread-safe, never blocks.
 */
size_t ringlog_batch_len(const struct ringlog_batch *batch);

/*
 Views of the records from index `from` on, `cap` at most; `elem_size` is sizeof(ringlog_view).
 On success `*count` says how many; 0: there are none from there. They live as long as the batch.
 Going on where the last call stopped costs nothing extra.

 Thread-safe. Never blocks (but for another thread in the same call).
 Errors: `INVALID_BATCH` if the bytes are damaged and the reader did not verify.
 */
ringlog_status ringlog_batch_views(const struct ringlog_batch *batch,
                                   size_t from,
                                   struct ringlog_view *views,
                                   size_t cap,
                                   size_t elem_size,
                                   size_t *count,
                                   struct ringlog_error **error);

/*
 The next header of a view: `headers` is the view's, `*cursor` 0 at first. 1: `*key` and `*value`
 are it, and belong to the batch; 0: there are no more.

 Thread-safe (each thread with a cursor of its own), never blocks.
 */
int32_t ringlog_header_next(struct ringlog_bytes headers,
                            size_t *cursor,
                            struct ringlog_bytes *key,
                            struct ringlog_bytes *value);

/*
 How many record batches it holds; 0 for NULL. Thread-safe, never blocks.
 */
size_t ringlog_batch_parts(const struct ringlog_batch *batch);

/*
 The bytes of the record batch at index `part`: a whole Kafka RecordBatch v2. On success `*bytes`
 is it, which belongs to the batch.

 Thread-safe, never blocks.
 Errors: `INVALID_ARGUMENT` beyond the last.
 */
ringlog_status ringlog_batch_bytes(const struct ringlog_batch *batch,
                                   size_t part,
                                   struct ringlog_bytes *bytes,
                                   struct ringlog_error **error);

/*
 The partition that the record batch at index `part` was read from. On success it is in
 `*partition`.

 Thread-safe, never blocks.
 Errors: `INVALID_ARGUMENT` beyond the last.
 */
ringlog_status ringlog_batch_partition(const struct ringlog_batch *batch,
                                       size_t part,
                                       uint32_t *partition,
                                       struct ringlog_error **error);

/*
 One more owner; gives the same batch, or NULL for NULL. Thread-safe, never blocks.
 */
struct ringlog_batch *ringlog_batch_ref(const struct ringlog_batch *batch);

/*
 Gives up one owner's share; NULL is fine. With the last, its views are gone. Thread-safe, never
 blocks.
 */
void ringlog_batch_free(struct ringlog_batch *batch);

/*
 A completion queue that takes up to `capacity` submissions at once. On success `*cq` is the
 caller's until `ringlog_cq_free`.

 Thread-safe, never blocks.
 Errors: `INVALID_ARGUMENT` for a capacity of 0 or out of range; `IO` without descriptors.
 */
ringlog_status ringlog_cq_new(const struct ringlog_engine *engine,
                              size_t capacity,
                              struct ringlog_cq **cq,
                              struct ringlog_error **error);

/*
 A descriptor for an event loop: readable while there may be completions. When it is, poll with a
 timeout of 0; it may turn out that there are none. On success it is in `*fd`; it belongs to the
 queue: do not read, write or close it.

 Thread-safe, never blocks.
 */
ringlog_status ringlog_cq_fd(const struct ringlog_cq *cq,
                             int32_t *fd,
                             struct ringlog_error **error);

/*
 Takes completions, `cap` at most; `elem_size` is sizeof(ringlog_completion). On success `*count`
 says how many: 0 after the timeout, after `ringlog_cq_wake`, or when a signal handler ran on
 this thread. What is in `batch` and `error` of each is the caller's.

 One thread at a time; others wait for it. Blocks up to `timeout_ns` while there are none.
 Errors: none of its own. After `ringlog_close` it goes on giving what was submitted before.
 */
ringlog_status ringlog_cq_poll(struct ringlog_cq *cq,
                               struct ringlog_completion *completions,
                               size_t cap,
                               size_t elem_size,
                               int64_t timeout_ns,
                               size_t *count,
                               struct ringlog_error **error);

/*
 Ends the poll that goes on, or else the next. From any thread, and from a signal handler. Never
 blocks; NULL is fine.
 */
void ringlog_cq_wake(const struct ringlog_cq *cq);

/*
 Frees the queue; NULL is fine. What was submitted is done all the same, and nobody hears of it;
 readers that were submitted are not given back. Blocks only if it is the engine's last handle:
 see `ringlog_engine_free`.
 */
void ringlog_cq_free(struct ringlog_cq *cq);

/*
 As `ringlog_append`, without waiting for the acknowledgement: `cq` gives it under `tag`, exactly
 once for each success here. The bytes are taken, and the place in the partition is claimed,
 before this returns, so that submissions of one thread keep their order.

 Thread-safe. Blocks only for room in the ring, up to the engine's `append_timeout_ns`; with
 `RINGLOG_APPEND_NO_WAIT` never.
 Errors: `QUEUE_FULL` (poll first), and as `ringlog_append`: nothing was written, and there will
 be no completion.
 */
ringlog_status ringlog_submit_append(const struct ringlog_stream *stream,
                                     const struct ringlog_cq *cq,
                                     const struct ringlog_record *records,
                                     size_t n,
                                     size_t record_size,
                                     uint32_t flags,
                                     uint64_t tag,
                                     struct ringlog_error **error);

/*
 As `ringlog_submit_append`, of a ready-made Kafka RecordBatch v2: see `ringlog_append_batch`.

 Thread-safe. Blocks as `ringlog_submit_append` does.
 Errors: as `ringlog_submit_append`, and `INVALID_BATCH`.
 */
ringlog_status ringlog_submit_batch(const struct ringlog_stream *stream,
                                    const struct ringlog_cq *cq,
                                    struct ringlog_bytes batch,
                                    uint32_t flags,
                                    uint64_t tag,
                                    struct ringlog_error **error);

/*
 Makes durable whatever has been appended up to now, in topics of either class.

 Thread-safe. Blocks up to `timeout_ns`; the default is 30 s.
 Errors: `TIMEOUT`, `LATCHED` if a log has failed, `CLOSED`.
 */
ringlog_status ringlog_flush(const struct ringlog_engine *engine,
                             int64_t timeout_ns,
                             struct ringlog_error **error);

/*
 As `ringlog_flush`, without waiting: `cq` gives the outcome under `tag`.

 Thread-safe, never blocks.
 Errors: `QUEUE_FULL` (poll first), `CLOSED`: there will be no completion.
 */
ringlog_status ringlog_submit_flush(const struct ringlog_engine *engine,
                                    const struct ringlog_cq *cq,
                                    uint64_t tag,
                                    struct ringlog_error **error);

/*
 Opens the directory `path`, recovering what its last writer left; makes it if it is not there.
 `options` may be NULL. On success `*engine` is the caller's until `ringlog_engine_free`.

 Thread-safe. Blocks for milliseconds; after a crash as long as the tail takes to read; up to
 `lock_timeout_ns` if another process holds the directory.
 Errors: `LOCKED` (the message names the holder), `NOT_A_DATA_DIRECTORY`, `UNSUPPORTED_FORMAT`,
 `READ_ONLY`, `CORRUPT`, `NOT_DURABLE`, `INVALID_ARGUMENT`, `IO`, `NO_SPACE`: nothing was
 changed.
 */
ringlog_status ringlog_open(const char *path,
                            const struct ringlog_open_options *options,
                            struct ringlog_engine **engine,
                            struct ringlog_error **error);

/*
 Flushes everything and leaves a clean end, so that the next open scans nothing. From then on
 every other call of this engine's handles is refused with `CLOSED`; batches stay readable.
 Closing again does nothing. The handle itself lives until `ringlog_engine_free`.

 Thread-safe. Blocks up to `timeout_ns`.
 Errors: `TIMEOUT` (what was acknowledged is safe all the same; the next open recovers),
 `LATCHED`.
 */
ringlog_status ringlog_close(struct ringlog_engine *engine,
                             int64_t timeout_ns,
                             struct ringlog_error **error);

/*
 Frees the handle; NULL is fine. The engine itself ends with the last of its handles (topics,
 streams, readers and queues hold it open): it is then closed, if it was not, which blocks up to
 `close_timeout_ns`.

 From any thread, when no other uses the handle.
 */
void ringlog_engine_free(struct ringlog_engine *engine);

/*
 Everything about the engine that is worth printing, as JSON: topics, what was chosen for the
 directory and why, counters. On success `*json` is the caller's until `ringlog_text_free`.

 Thread-safe. Takes each log's lock for an instant.
 */
ringlog_status ringlog_stats_json(const struct ringlog_engine *engine,
                                  struct ringlog_text **json,
                                  struct ringlog_error **error);

/*
 What was chosen for the directory, and why, as JSON: the driver, the filesystem, what *written*
 and *durable* mean here. On success `*json` is the caller's until `ringlog_text_free`.

 Thread-safe, never blocks.
 */
ringlog_status ringlog_capabilities_json(const struct ringlog_engine *engine,
                                         struct ringlog_text **json,
                                         struct ringlog_error **error);

/*
 The counters as Prometheus text, for a scrape. On success `*text` is the caller's until
 `ringlog_text_free`.

 Thread-safe. Takes each log's lock for an instant.
 */
ringlog_status ringlog_metrics_prometheus(const struct ringlog_engine *engine,
                                          struct ringlog_text **text,
                                          struct ringlog_error **error);

/*
 The error's `RINGLOG_E_*`; `RINGLOG_OK` for NULL. Thread-safe, never blocks.
 */
ringlog_status ringlog_error_code(const struct ringlog_error *error);

/*
 What went wrong, in a sentence that names the file, offset or topic; "" for NULL. UTF-8.
 Thread-safe, never blocks. The text is the error's, and lives as long.
 */
const char *ringlog_error_message(const struct ringlog_error *error);

/*
 What can be done about it: `RINGLOG_ERROR_*` added up; 0 for NULL. Thread-safe, never blocks.
 */
uint32_t ringlog_error_flags(const struct ringlog_error *error);

/*
 The system's error number behind it; 0 if there is none, and for NULL. Thread-safe, never
 blocks.
 */
int32_t ringlog_error_errno(const struct ringlog_error *error);

/*
 Frees an error; NULL is fine. Never blocks.
 */
void ringlog_error_free(struct ringlog_error *error);

/*
 Where whole record batches lie from the offset `from` on: as many as fit into `max_bytes`, and
 at least one if there is one; what readers may see, and nothing beyond. One after the other the
 pieces are Kafka RecordBatches v2, the first of which may begin before `from`. What is still in
 the ring comes as memory. On success `*extents` is the caller's until `ringlog_extents_free`,
 and `*next_offset` is where to go on: `from` if there was nothing.

 Thread-safe. Does not wait, but may read the disk.
 Errors: `OFFSET_OUT_OF_RANGE`, `CORRUPT`, `PINNED`, `IO`.
 */
ringlog_status ringlog_extents_new(const struct ringlog_stream *stream,
                                   uint64_t from,
                                   uint64_t max_bytes,
                                   struct ringlog_extents **extents,
                                   uint64_t *next_offset,
                                   struct ringlog_error **error);

/*
 How many pieces there are; 0 for NULL. Thread-safe, never blocks.
 */
size_t ringlog_extents_len(const struct ringlog_extents *extents);

/*
 The pieces from index `from` on, `cap` at most; `elem_size` is sizeof(ringlog_extent). On
 success `*count` says how many.

 Thread-safe, never blocks.
 */
ringlog_status ringlog_extents_get(const struct ringlog_extents *extents,
                                   size_t from,
                                   struct ringlog_extent *to,
                                   size_t cap,
                                   size_t elem_size,
                                   size_t *count,
                                   struct ringlog_error **error);

/*
 Gives the files free; NULL is fine. Never blocks.
 */
void ringlog_extents_free(struct ringlog_extents *extents);

/*
 A sender of a partition's record batches from the offset `from` on. On success `*sender` is the
 caller's until `ringlog_sender_free`.

 Thread-safe. Does not wait.
 Errors: `OFFSET_OUT_OF_RANGE`, `UNKNOWN_TOPIC`.
 */
ringlog_status ringlog_sender_open(const struct ringlog_stream *stream,
                                   uint64_t from,
                                   struct ringlog_sender **sender,
                                   struct ringlog_error **error);

/*
 Sends what a call before has left, then further whole record batches up to `max_bytes` and at
 least one, until nothing more is visible: to a socket, a pipe or a file. What lies in segment
 files is not copied through this process. `sent_size` is sizeof(ringlog_sent). On success
 `*sent` says what went.

 One thread at a time, also for the descriptor. Blocks up to `timeout_ns` in all for a peer that
 does not take it; with 0, and a descriptor that does not block, it sends what is taken at once.
 Errors: `PEER` if the peer has closed; `CORRUPT`, `OFFSET_OUT_OF_RANGE`: what lies before it was
 sent, and the sender keeps its place; `IN_USE`.
 */
ringlog_status ringlog_sender_send(struct ringlog_sender *sender,
                                   int32_t fd,
                                   uint64_t max_bytes,
                                   int64_t timeout_ns,
                                   struct ringlog_sent *sent,
                                   size_t sent_size,
                                   struct ringlog_error **error);

/*
 Frees the sender; NULL is fine. Blocks only if it is the engine's last handle: see
 `ringlog_engine_free`.
 */
void ringlog_sender_free(struct ringlog_sender *sender);

/*
 Appends `n` records, each to the partition of its key (Kafka's default: murmur2; without a key
 the next in turn), and waits for all acknowledgements. What goes to one partition is one batch
 there, in the order given; nothing makes batches of several partitions whole or absent together.
 `record_size` is sizeof(ringlog_record), `id_size` sizeof(ringlog_record_id). On success `ids`,
 which may be NULL, has where each of the `n` records is. `flags` are `RINGLOG_APPEND_*`.

 Thread-safe. Blocks up to `timeout_ns`, for room and for the acknowledgements.
 Errors: as `ringlog_append`; `PARTLY_APPENDED` if some partitions took their part and others
 did not.
 */
ringlog_status ringlog_topic_append(const struct ringlog_topic *topic,
                                    const struct ringlog_record *records,
                                    size_t n,
                                    size_t record_size,
                                    uint32_t flags,
                                    int64_t timeout_ns,
                                    struct ringlog_record_id *ids,
                                    size_t id_size,
                                    struct ringlog_error **error);

/*
 The partition that a record with this key goes to; with an absent key the next in turn. On
 success it is in `*partition`.

 Thread-safe, never blocks.
 */
ringlog_status ringlog_topic_partition_for(const struct ringlog_topic *topic,
                                           struct ringlog_bytes key,
                                           uint32_t *partition,
                                           struct ringlog_error **error);

/*
 Asks for what comes next: `cq` gives one record batch under `tag` as soon as there is one, which
 may be at once. Until then the reader is the queue's: other calls with it are refused with
 `IN_USE`; it may be freed. Submit it again for more.

 One thread at a time. Does not wait, but where there is a batch may read it from the disk.
 Errors: `QUEUE_FULL` (poll first), `IN_USE`: there will be no completion. What reading meets
 comes with the completion.
 */
ringlog_status ringlog_submit_read(struct ringlog_reader *reader,
                                   const struct ringlog_cq *cq,
                                   uint64_t tag,
                                   struct ringlog_error **error);

/*
 As `ringlog_submit_read`, of all partitions of a topic: one record batch of any of them
 completes it. `partition` of the completion is its partition, and 0 where there is an error
 instead.

 One thread at a time. Does not wait, but where there is a batch may read it from the disk.
 Errors: `QUEUE_FULL` (poll first), `IN_USE`: there will be no completion. What reading meets
 comes with the completion.
 */
ringlog_status ringlog_submit_topic_read(struct ringlog_topic_reader *reader,
                                         const struct ringlog_cq *cq,
                                         uint64_t tag,
                                         struct ringlog_error **error);

/*
 A reader of a partition from `start` (`RINGLOG_START_*`) and `at` on. `flags` are
 `RINGLOG_READ_*`. On success `*reader` is the caller's until `ringlog_reader_free`.

 It sees what is durable of a sync topic, what is written of an async one, and never blocks an
 append.

 Thread-safe. Does not wait; for a time it reads about a record batch.
 Errors: `OFFSET_OUT_OF_RANGE` for an offset that is trimmed or beyond the end, `UNKNOWN_TOPIC`;
 for a time `CORRUPT`, `IO`, `PINNED`.
 */
ringlog_status ringlog_reader_open(const struct ringlog_stream *stream,
                                   uint32_t start,
                                   int64_t at,
                                   uint32_t flags,
                                   struct ringlog_reader **reader,
                                   struct ringlog_error **error);

/*
 What comes next: whole record batches, one at least, and more while they are there at once and
 together below `max_bytes` (0: just one). On success `*batch` is the caller's until
 `ringlog_batch_free`, or NULL if nothing came in time. The first batch may begin before the
 offset asked for; the views start there.

 One thread at a time. Blocks up to `timeout_ns` (0: not at all) until there is something.
 Errors: `CORRUPT` names file and byte, and the reader stays before the damage;
 `OFFSET_OUT_OF_RANGE` if the place was trimmed meanwhile; `TRUNCATED` on a read-only engine;
 `IO`, `PINNED`, `CLOSED`; `IN_USE` while another call or a submitted read uses the reader.
 */
ringlog_status ringlog_reader_next(struct ringlog_reader *reader,
                                   size_t max_bytes,
                                   int64_t timeout_ns,
                                   struct ringlog_batch **batch,
                                   struct ringlog_error **error);

/*
 Goes on elsewhere: see `ringlog_reader_open`.

 One thread at a time. Does not wait; for a time it reads about a record batch.
 Errors: `OFFSET_OUT_OF_RANGE` (or, for a time, `CORRUPT`, `IO`, `PINNED`), the reader staying
 where it was; `IN_USE`.
 */
ringlog_status ringlog_reader_seek(struct ringlog_reader *reader,
                                   uint32_t start,
                                   int64_t at,
                                   struct ringlog_error **error);

/*
 The offset of the next record. On success it is in `*offset`.

 One thread at a time. Never blocks.
 Errors: `IN_USE`.
 */
ringlog_status ringlog_reader_position(const struct ringlog_reader *reader,
                                       uint64_t *offset,
                                       struct ringlog_error **error);

/*
 Frees the reader; NULL is fine. Batches it gave stay. A submitted read completes all the same.
 Blocks only if it is the engine's last handle: see `ringlog_engine_free`.
 */
void ringlog_reader_free(struct ringlog_reader *reader);

/*
 How many shards write its logs; 0 for NULL. Thread-safe, never blocks.
 */
uint32_t ringlog_shards(const struct ringlog_engine *engine);

/*
 In caller-driven mode (`RINGLOG_OPEN_CALLER_DRIVEN`): turns the shard once on this thread, which
 owns it from then on. Takes in what has completed, wakes who waited for it, hands new writes to
 the kernel, and does a piece of due upkeep. An event loop calls it when `ringlog_poll_fd` is
 readable. If there is nothing to do it sleeps up to `timeout_ns` first; 0, and
 `RINGLOG_DEFAULT_TIMEOUT`, do not sleep.

 On the one thread that turns this shard. Blocks up to `timeout_ns`; on the plain backend also
 for one write and its flush.
 Errors: `WRONG_THREAD` if the shard is another thread's; `CLOSED` once it has ended;
 `INVALID_ARGUMENT` for a shard that is not there, and on an engine with threads of its own.
 */
ringlog_status ringlog_run_once(struct ringlog_engine *engine,
                                uint32_t shard,
                                int64_t timeout_ns,
                                struct ringlog_error **error);

/*
 In caller-driven mode: a descriptor that is readable (level-triggered) when `ringlog_run_once`
 has something to do for this shard. On success it is in `*fd`; it is the engine's, and lives as
 long: poll it, but neither read nor close it.

 Thread-safe, never blocks.
 Errors: `INVALID_ARGUMENT` for a shard that is not there, and on an engine with threads of its
 own.
 */
ringlog_status ringlog_poll_fd(const struct ringlog_engine *engine,
                               uint32_t shard,
                               int32_t *fd,
                               struct ringlog_error **error);

/*
 The name of a status, such as "RINGLOG_E_BUSY"; "RINGLOG_E_?" for one this library does not
 know. Thread-safe, never blocks. The text is static.
 */
const char *ringlog_status_name(ringlog_status status);

/*
 The text, UTF-8, ended by a zero; "" for NULL. Thread-safe, never blocks. It belongs to the
 handle, and lives as long.
 */
const char *ringlog_text_ptr(const struct ringlog_text *text);

/*
 The text's length in bytes, without the zero at its end; 0 for NULL. Thread-safe, never blocks.
 */
size_t ringlog_text_len(const struct ringlog_text *text);

/*
 Frees a text; NULL is fine. Never blocks.
 */
void ringlog_text_free(struct ringlog_text *text);

/*
 The first visible record of the time `ms`, in milliseconds since 1970, or later. On success
 `*offset` is its offset and `*timestamp_ms`, which may be NULL, its time; `RINGLOG_NO_OFFSET`
 and -1 if there is none. Times need not ascend: later records may be of earlier times.

 Thread-safe. Does not wait; reads about a record batch.
 Errors: `UNKNOWN_TOPIC` if the topic was deleted, `CORRUPT`, `IO`, `PINNED`.
 */
ringlog_status ringlog_offset_for_time(const struct ringlog_stream *stream,
                                       int64_t ms,
                                       uint64_t *offset,
                                       int64_t *timestamp_ms,
                                       struct ringlog_error **error);

/*
 The visible record with the latest time, the first if several have it. On success `*offset` is
 its offset and `*timestamp_ms`, which may be NULL, its time, in milliseconds since 1970;
 `RINGLOG_NO_OFFSET` and -1 if there are no records.

 Thread-safe. Does not wait; reads about a record batch.
 Errors: as `ringlog_offset_for_time`.
 */
ringlog_status ringlog_max_timestamp(const struct ringlog_stream *stream,
                                     uint64_t *offset,
                                     int64_t *timestamp_ms,
                                     struct ringlog_error **error);

/*
 Makes a topic, durably. `options` may be NULL: one partition, sync. `topic` may be NULL; else on
 success `*topic` is the caller's until `ringlog_topic_free`.

 Thread-safe. Blocks until it is durable.
 Errors: `TOPIC_EXISTS`, `INVALID_ARGUMENT` for a name or count out of range, `CLOSED`, and what
 an append can meet.
 */
ringlog_status ringlog_topic_create(const struct ringlog_engine *engine,
                                    const char *name,
                                    const struct ringlog_topic_options *options,
                                    struct ringlog_topic **topic,
                                    struct ringlog_error **error);

/*
 The topic of this name. On success `*topic` is the caller's until `ringlog_topic_free`.

 Thread-safe, never blocks.
 Errors: `UNKNOWN_TOPIC`.
 */
ringlog_status ringlog_topic_open(const struct ringlog_engine *engine,
                                  const char *name,
                                  struct ringlog_topic **topic,
                                  struct ringlog_error **error);

/*
 The topic of this name, made as `options` say if it is not there; one that is there stays as it
 is. On success `*topic` is the caller's until `ringlog_topic_free`.

 Thread-safe. Blocks until it is durable.
 Errors: as `ringlog_topic_create`, without `TOPIC_EXISTS`.
 */
ringlog_status ringlog_topic_open_or_create(const struct ringlog_engine *engine,
                                            const char *name,
                                            const struct ringlog_topic_options *options,
                                            struct ringlog_topic **topic,
                                            struct ringlog_error **error);

/*
 Deletes a topic and all its records, durably. Handles to it, and its readers, get
 `UNKNOWN_TOPIC` from then on.

 Thread-safe. Blocks until it is durable.
 Errors: `UNKNOWN_TOPIC`, and what an append can meet.
 */
ringlog_status ringlog_topic_delete(const struct ringlog_engine *engine,
                                    const char *name,
                                    struct ringlog_error **error);

/*
 What a topic is. `info_size` is sizeof(ringlog_topic_info); the name belongs to `topic`.

 Thread-safe, never blocks.
 */
ringlog_status ringlog_topic_describe(const struct ringlog_topic *topic,
                                      struct ringlog_topic_info *info,
                                      size_t info_size,
                                      struct ringlog_error **error);

/*
 Frees the handle; NULL is fine. Blocks only if it is the engine's last: see
 `ringlog_engine_free`.
 */
void ringlog_topic_free(struct ringlog_topic *topic);

/*
 Every topic there is now, by name. On success `*list` is the caller's until
 `ringlog_topic_list_free`.

 Thread-safe, never blocks.
 */
ringlog_status ringlog_topic_list_new(const struct ringlog_engine *engine,
                                      struct ringlog_topic_list **list,
                                      struct ringlog_error **error);

/*
 How many topics are in the list; 0 for NULL. Thread-safe, never blocks.
 */
size_t ringlog_topic_list_len(const struct ringlog_topic_list *list);

/*
 The topic at `index`, from 0. `info_size` is sizeof(ringlog_topic_info); the name belongs to
 `list`.

 Thread-safe, never blocks.
 Errors: `INVALID_ARGUMENT` beyond the end.
 */
ringlog_status ringlog_topic_list_get(const struct ringlog_topic_list *list,
                                      size_t index,
                                      struct ringlog_topic_info *info,
                                      size_t info_size,
                                      struct ringlog_error **error);

/*
 Frees a list; NULL is fine. Never blocks.
 */
void ringlog_topic_list_free(struct ringlog_topic_list *list);

/*
 One partition of a topic, numbered from 0. On success `*stream` is the caller's until
 `ringlog_stream_free`; it may outlive `topic`.

 Thread-safe, never blocks.
 Errors: `UNKNOWN_PARTITION`.
 */
ringlog_status ringlog_stream_open(const struct ringlog_topic *topic,
                                   uint32_t partition,
                                   struct ringlog_stream **stream,
                                   struct ringlog_error **error);

/*
 What the partition holds, now. `info_size` is sizeof(ringlog_stream_info).

 Thread-safe, never blocks.
 Errors: `UNKNOWN_TOPIC` if the topic was deleted.
 */
ringlog_status ringlog_stream_describe(const struct ringlog_stream *stream,
                                       struct ringlog_stream_info *info,
                                       size_t info_size,
                                       struct ringlog_error **error);

/*
 Frees the handle; NULL is fine. Blocks only if it is the engine's last: see
 `ringlog_engine_free`.
 */
void ringlog_stream_free(struct ringlog_stream *stream);

/*
 A reader of all partitions of a topic, each from `start` (`RINGLOG_START_*`) and `at` on; an
 offset is taken for that of every partition. `flags` are `RINGLOG_READ_*`. On success `*reader`
 is the caller's until `ringlog_topic_reader_free`; it may outlive `topic`.

 What `ringlog_reader_open` says of visibility holds for each partition.

 Thread-safe. Does not wait; for a time it reads about a record batch of each partition.
 Errors: as `ringlog_reader_open`, of any partition.
 */
ringlog_status ringlog_topic_reader_open(const struct ringlog_topic *topic,
                                         uint32_t start,
                                         int64_t at,
                                         uint32_t flags,
                                         struct ringlog_topic_reader **reader,
                                         struct ringlog_error **error);

/*
 What comes next: whole record batches, one at least, and more while they are there at once and
 together below `max_bytes` (0: just one), in turns between the partitions that have something,
 in order within each. `partition` of a view, or `ringlog_batch_partition`, says where it is
 from. On success `*batch` is the caller's until `ringlog_batch_free`, or NULL if nothing came in
 any partition in time. The first batch of a partition may begin before the offset asked for; the
 views start there.

 One thread at a time. Blocks up to `timeout_ns` (0: not at all) until there is something.
 Errors: as `ringlog_reader_next`, for one partition, which stays where it was; the next call
 goes on with the others. `CLOSED`, `LATCHED` when everything is read and a log of the topic
 takes no appends any more.
 */
ringlog_status ringlog_topic_reader_next(struct ringlog_topic_reader *reader,
                                         size_t max_bytes,
                                         int64_t timeout_ns,
                                         struct ringlog_batch **batch,
                                         struct ringlog_error **error);

/*
 Goes on elsewhere in one partition: see `ringlog_reader_open`.

 One thread at a time. Does not wait; for a time it reads about a record batch.
 Errors: `UNKNOWN_PARTITION`, `OFFSET_OUT_OF_RANGE` (or, for a time, `CORRUPT`, `IO`, `PINNED`),
 the reader staying where it was; `IN_USE`.
 */
ringlog_status ringlog_topic_reader_seek(struct ringlog_topic_reader *reader,
                                         uint32_t partition,
                                         uint32_t start,
                                         int64_t at,
                                         struct ringlog_error **error);

/*
 The offset of the next record of one partition. On success it is in `*offset`.

 One thread at a time. Never blocks.
 Errors: `UNKNOWN_PARTITION`, `IN_USE`.
 */
ringlog_status ringlog_topic_reader_position(const struct ringlog_topic_reader *reader,
                                             uint32_t partition,
                                             uint64_t *offset,
                                             struct ringlog_error **error);

/*
 Frees the reader; NULL is fine. Batches it gave stay. A submitted read completes all the same.
 Blocks only if it is the engine's last handle: see `ringlog_engine_free`.
 */
void ringlog_topic_reader_free(struct ringlog_topic_reader *reader);

/*
 The library's version: major * 1000000 + minor * 1000 + patch, as `RINGLOG_VERSION` of the
 header it came with. Thread-safe, never blocks.
 */
uint32_t ringlog_version(void);

/*
 The library's version as text. Thread-safe, never blocks. The text is static.
 */
const char *ringlog_version_string(void);

/*
 Whether this library takes a program that was compiled with a header of this `RINGLOG_ABI`:
 `RINGLOG_OK` or `RINGLOG_E_ABI`. Thread-safe, never blocks.
 */
ringlog_status ringlog_check_abi(uint32_t header_abi);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* RINGLOG_H */
