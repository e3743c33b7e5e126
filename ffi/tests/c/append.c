/* Appending: what goes in comes out; sizes, flags and limits. */
#include "check.h"

static void a_record_comes_out_as_it_went_in(const char *path) {
    struct log log = log_open(path);
    ringlog_header headers[3];
    ringlog_record record = record_of("value");
    ringlog_reader *reader = reader_from(log.stream, RINGLOG_START_EARLIEST, 0);
    ringlog_batch *batch = NULL;
    ringlog_view view;
    ringlog_bytes key, value;
    size_t count = 0, cursor = 0;
    memset(headers, 0, sizeof headers);
    headers[0].key = bytes_of("a");
    headers[0].value = bytes_of("1");
    headers[1].key = bytes_of("a");
    headers[2].key = bytes_of("");
    headers[2].value = bytes_of("");
    record.key = bytes_of("");
    record.headers = headers;
    record.n_headers = 3;
    record.timestamp_ms = 1234;
    OK(ringlog_append(log.stream, &record, 1, sizeof record, 0, RINGLOG_FOREVER, NULL, &error));
    OK(ringlog_reader_next(reader, 0, 0, &batch, &error));
    CHECK(ringlog_batch_len(batch) == 1);
    OK(ringlog_batch_views(batch, 0, &view, 1, sizeof view, &count, &error));
    CHECK(count == 1 && view.offset == 0 && view.timestamp_ms == 1234 && view.flags == 0);
    CHECK(bytes_are(view.key, "") && bytes_are(view.value, "value"));
    CHECK(ringlog_header_next(view.headers, &cursor, &key, &value) == 1);
    CHECK(bytes_are(key, "a") && bytes_are(value, "1"));
    CHECK(ringlog_header_next(view.headers, &cursor, &key, &value) == 1);
    CHECK(bytes_are(key, "a") && bytes_are(value, NULL));
    CHECK(ringlog_header_next(view.headers, &cursor, &key, &value) == 1);
    CHECK(bytes_are(key, "") && bytes_are(value, ""));
    CHECK(ringlog_header_next(view.headers, &cursor, &key, &value) == 0);
    ringlog_batch_free(batch);
    ringlog_reader_free(reader);
    log_free(&log);
}

static void absent_differs_from_empty_and_time_zero_from_now(const char *path) {
    struct log log = log_open(path);
    ringlog_record records[2];
    ringlog_view views[2];
    ringlog_reader *reader = reader_from(log.stream, RINGLOG_START_EARLIEST, 0);
    ringlog_batch *batch = NULL;
    size_t count = 0;
    uint64_t first = 77;
    memset(records, 0, sizeof records);
    records[0].timestamp_ms = RINGLOG_TIMESTAMP_ZERO;
    records[1] = record_of("");
    OK(ringlog_append(log.stream, records, 2, sizeof *records, 0, RINGLOG_FOREVER, &first, &error));
    CHECK(first == 0);
    OK(ringlog_reader_next(reader, 0, 0, &batch, &error));
    OK(ringlog_batch_views(batch, 0, views, 2, sizeof *views, &count, &error));
    CHECK(count == 2 && bytes_are(views[0].value, NULL) && bytes_are(views[1].value, ""));
    CHECK(views[0].timestamp_ms == 0 && views[1].timestamp_ms > 1500000000000);
    ringlog_batch_free(batch);
    ringlog_reader_free(reader);
    log_free(&log);
}

static void levels_and_flags(const char *path) {
    struct log log = log_open_async(path);
    ringlog_record record = record_of("v");
    ringlog_stream_info info;
    uint64_t offset = 0;
    OK(ringlog_append(log.stream, &record, 1, sizeof record, RINGLOG_APPEND_WRITTEN,
                      RINGLOG_DEFAULT_TIMEOUT, &offset, &error));
    OK(ringlog_append(log.stream, &record, 1, sizeof record,
                      RINGLOG_APPEND_DURABLE | RINGLOG_APPEND_NO_WAIT, 10 * SECOND_NS, &offset,
                      &error));
    OK(ringlog_stream_describe(log.stream, &info, sizeof info, &error));
    CHECK(offset == 1 && info.end == 2 && info.durable_end == 2 && info.partition == 0);
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_append(log.stream, &record, 1, sizeof record,
                         RINGLOG_APPEND_WRITTEN | RINGLOG_APPEND_DURABLE, 0, NULL, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_append(log.stream, &record, 1, sizeof record, 256, 0, NULL, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_append(log.stream, &record, 1, sizeof record, 0, -3, NULL, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_append(log.stream, &record, 0, sizeof record, 0, 0, NULL, &error));
    log_free(&log);
}

/* The codec of the batch that a reader gives next, as Kafka's attributes have it. */
static int next_codec(ringlog_reader *reader, const char *value) {
    ringlog_batch *batch = NULL;
    ringlog_bytes bytes = {NULL, 0};
    ringlog_view view;
    size_t count = 0;
    int codec;
    OK(ringlog_reader_next(reader, 0, 0, &batch, &error));
    OK(ringlog_batch_bytes(batch, 0, &bytes, &error));
    OK(ringlog_batch_views(batch, 0, &view, 1, sizeof view, &count, &error));
    CHECK(count == 1 && bytes_are(view.value, value));
    codec = ((const unsigned char *)bytes.ptr)[22] & 7;
    ringlog_batch_free(batch);
    return codec;
}

static void a_call_may_compress_otherwise_than_its_topic(const char *path) {
    static const uint32_t flags[] = {
        RINGLOG_APPEND_COMPRESSION_NONE, RINGLOG_APPEND_COMPRESSION_GZIP,
        RINGLOG_APPEND_COMPRESSION_SNAPPY, RINGLOG_APPEND_COMPRESSION_LZ4,
        RINGLOG_APPEND_COMPRESSION_ZSTD,
    };
    struct log log = log_open(path);
    ringlog_topic_options options;
    ringlog_topic *topic = NULL;
    ringlog_stream *stream = NULL;
    ringlog_cq *queue = NULL;
    ringlog_reader *reader;
    ringlog_record record = record_of("v");
    ringlog_record_id id;
    ringlog_completion done;
    size_t at, count;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.compression = RINGLOG_COMPRESSION_LZ4;
    OK(ringlog_topic_create(log.engine, "lz4", &options, &topic, &error));
    OK(ringlog_stream_open(topic, 0, &stream, &error));
    OK(ringlog_cq_new(log.engine, 8, &queue, &error));
    reader = reader_from(stream, RINGLOG_START_EARLIEST, 0);
    append(stream, "as the topic says");
    CHECK(next_codec(reader, "as the topic says") == RINGLOG_COMPRESSION_LZ4);
    /* The codes of topics are Kafka's, and count up from none. */
    for (at = 0; at < sizeof flags / sizeof *flags; at++) {
        uint32_t level = at % 2 == 0 ? RINGLOG_APPEND_WRITTEN : RINGLOG_APPEND_DURABLE;
        OK(ringlog_append(stream, &record, 1, sizeof record, flags[at] | RINGLOG_APPEND_DURABLE,
                          RINGLOG_FOREVER, NULL, &error));
        CHECK(next_codec(reader, "v") == (int)at);
        OK(ringlog_topic_append(topic, &record, 1, sizeof record, flags[at], RINGLOG_FOREVER, &id,
                                sizeof id, &error));
        CHECK(next_codec(reader, "v") == (int)at);
        OK(ringlog_submit_append(stream, queue, &record, 1, sizeof record, flags[at] | level, 5,
                                 &error));
        OK(ringlog_flush(log.engine, RINGLOG_DEFAULT_TIMEOUT, &error));
        OK(ringlog_cq_poll(queue, &done, 1, sizeof done, 30 * SECOND_NS, &count, &error));
        CHECK(count == 1 && done.status == RINGLOG_OK);
        CHECK(next_codec(reader, "v") == (int)at);
        FAILS(RINGLOG_E_INVALID_ARGUMENT,
              ringlog_append(stream, &record, 1, sizeof record,
                             flags[at] | flags[(at + 1) % 5], 0, NULL, &error));
    }
    ringlog_reader_free(reader);
    ringlog_cq_free(queue);
    ringlog_stream_free(stream);
    ringlog_topic_free(topic);
    log_free(&log);
}

/* A pointer to a few bytes, with lengths that lie: nothing beyond them may be looked at. */
static void huge_lengths_are_refused_unread(const char *path) {
    struct log log = log_open(path);
    char *few = malloc(8);
    ringlog_record record = record_of("v");
    ringlog_header header;
    ringlog_stream_info info;
    static const size_t lengths[] = {SIZE_MAX, SIZE_MAX / 2 + 1, (size_t)1 << 40, 64 << 20};
    size_t at;
    CHECK(few != NULL);
    memset(few, 'x', 8);
    memset(&header, 0, sizeof header);
    for (at = 0; at < sizeof lengths / sizeof *lengths; at++) {
        ringlog_bytes huge;
        huge.ptr = few;
        huge.len = lengths[at];
        record = record_of("v");
        record.value = huge;
        FAILS(RINGLOG_E_TOO_LARGE,
              ringlog_append(log.stream, &record, 1, sizeof record, 0, 0, NULL, &error));
        record = record_of("v");
        record.key = huge;
        FAILS(RINGLOG_E_TOO_LARGE,
              ringlog_append(log.stream, &record, 1, sizeof record, 0, 0, NULL, &error));
        header.key = huge;
        record = record_of("v");
        record.headers = &header;
        record.n_headers = 1;
        FAILS(RINGLOG_E_TOO_LARGE,
              ringlog_append(log.stream, &record, 1, sizeof record, 0, 0, NULL, &error));
        record.n_headers = lengths[at];
        FAILS(RINGLOG_E_TOO_LARGE,
              ringlog_append(log.stream, &record, 1, sizeof record, 0, 0, NULL, &error));
        record = record_of("v");
        FAILS(RINGLOG_E_TOO_LARGE,
              ringlog_append(log.stream, &record, lengths[at], sizeof record, 0, 0, NULL, &error));
        FAILS(RINGLOG_E_TOO_LARGE, ringlog_append_batch(log.stream, huge, 0, 0, NULL, &error));
        FAILS(RINGLOG_E_INVALID_ARGUMENT,
              ringlog_append(log.stream, &record, 1, lengths[at], 0, 0, NULL, &error));
    }
    record = record_of("v");
    record.value.ptr = NULL;
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_append(log.stream, &record, 1, sizeof record, 0, 0, NULL, &error));
    record = record_of("v");
    record.n_headers = 1;
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_append(log.stream, &record, 1, sizeof record, 0, 0, NULL, &error));
    header.key = bytes_of("\xff");
    record.headers = &header;
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_append(log.stream, &record, 1, sizeof record, 0, 0, NULL, &error));
    header.key.ptr = NULL;
    header.key.len = 0;
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_append(log.stream, &record, 1, sizeof record, 0, 0, NULL, &error));
    OK(ringlog_stream_describe(log.stream, &info, sizeof info, &error));
    CHECK(info.end == 0); /* Nothing of all this was written. */
    free(few);
    log_free(&log);
}

static void a_batch_goes_in_as_it_came_out(const char *path) {
    struct log log = log_open(path);
    ringlog_record records[3];
    ringlog_reader *reader;
    ringlog_batch *batch = NULL;
    ringlog_bytes bytes, damaged;
    char *copy;
    uint64_t first = 0;
    records[0] = record_of("a");
    records[1] = record_of("b");
    records[2] = record_of("c");
    OK(ringlog_append(log.stream, records, 3, sizeof *records, 0, RINGLOG_FOREVER, NULL, &error));
    reader = reader_from(log.stream, RINGLOG_START_EARLIEST, 0);
    OK(ringlog_reader_next(reader, 0, 0, &batch, &error));
    CHECK(ringlog_batch_parts(batch) == 1);
    OK(ringlog_batch_bytes(batch, 0, &bytes, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_batch_bytes(batch, 1, &bytes, &error));
    OK(ringlog_append_batch(log.stream, bytes, 0, RINGLOG_FOREVER, &first, &error));
    CHECK(first == 3);
    copy = malloc(bytes.len);
    CHECK(copy != NULL);
    memcpy(copy, bytes.ptr, bytes.len);
    copy[bytes.len - 1] ^= 1;
    damaged.ptr = copy;
    damaged.len = bytes.len;
    FAILS(RINGLOG_E_INVALID_BATCH, ringlog_append_batch(log.stream, damaged, 0, 0, NULL, &error));
    damaged.len = 5;
    FAILS(RINGLOG_E_INVALID_BATCH, ringlog_append_batch(log.stream, damaged, 0, 0, NULL, &error));
    free(copy);
    ringlog_batch_free(batch);
    OK(ringlog_reader_next(reader, 0, 0, &batch, &error));
    CHECK(ringlog_batch_len(batch) == 3);
    ringlog_batch_free(batch);
    ringlog_reader_free(reader);
    log_free(&log);
}

static void trim_moves_the_start(const char *path) {
    struct log log = log_open(path);
    ringlog_stream_info info;
    ringlog_reader *reader = NULL;
    int at;
    for (at = 0; at < 5; at++) {
        append(log.stream, "v");
    }
    OK(ringlog_trim(log.stream, 3, &error));
    OK(ringlog_stream_describe(log.stream, &info, sizeof info, &error));
    CHECK(info.log_start == 3 && info.end == 5);
    FAILS(RINGLOG_E_OFFSET_OUT_OF_RANGE, ringlog_trim(log.stream, 6, &error));
    FAILS(RINGLOG_E_OFFSET_OUT_OF_RANGE,
          ringlog_reader_open(log.stream, RINGLOG_START_OFFSET, 2, 0, &reader, &error));
    log_free(&log);
}

const struct test append_tests[] = {
    {"a_record_comes_out_as_it_went_in", a_record_comes_out_as_it_went_in, 1},
    {"absent_differs_from_empty_and_time_zero_from_now",
     absent_differs_from_empty_and_time_zero_from_now, 0},
    {"levels_and_flags", levels_and_flags, 1},
    {"a_call_may_compress_otherwise_than_its_topic", a_call_may_compress_otherwise_than_its_topic,
     1},
    {"huge_lengths_are_refused_unread", huge_lengths_are_refused_unread, 1},
    {"a_batch_goes_in_as_it_came_out", a_batch_goes_in_as_it_came_out, 1},
    {"trim_moves_the_start", trim_moves_the_start, 0},
    {NULL, NULL, 0},
};
