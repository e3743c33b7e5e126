/* Records found by their time. */
#include "check.h"

static void append_at(ringlog_stream *stream, int64_t ms) {
    ringlog_record record = record_of("v");
    record.timestamp_ms = ms;
    OK(ringlog_append(stream, &record, 1, sizeof record, 0, RINGLOG_FOREVER, NULL, &error));
}

static void at_time(ringlog_stream *stream, int64_t ms, uint64_t offset, int64_t timestamp_ms) {
    uint64_t found = 7;
    int64_t time = 7;
    OK(ringlog_offset_for_time(stream, ms, &found, &time, &error));
    CHECK(found == offset && time == timestamp_ms);
}

static void latest_is(ringlog_stream *stream, uint64_t offset, int64_t timestamp_ms) {
    uint64_t found = 7;
    int64_t time = 7;
    OK(ringlog_max_timestamp(stream, &found, &time, &error));
    CHECK(found == offset && time == timestamp_ms);
}

static void records_are_found_by_time(const char *path) {
    struct log log = log_open(path);
    uint64_t offset = 7;
    int64_t time = 7;
    at_time(log.stream, 0, RINGLOG_NO_OFFSET, -1);
    latest_is(log.stream, RINGLOG_NO_OFFSET, -1);
    append_at(log.stream, 1000);
    append_at(log.stream, 3000);
    append_at(log.stream, 2000);
    append_at(log.stream, 3000);
    at_time(log.stream, INT64_MIN, 0, 1000);
    at_time(log.stream, 1000, 0, 1000);
    at_time(log.stream, 1001, 1, 3000);
    at_time(log.stream, 3000, 1, 3000);
    at_time(log.stream, 3001, RINGLOG_NO_OFFSET, -1);
    latest_is(log.stream, 1, 3000);
    OK(ringlog_offset_for_time(log.stream, 1001, &offset, NULL, &error));
    CHECK(offset == 1);
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_offset_for_time(NULL, 0, &offset, &time, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_offset_for_time(log.stream, 0, NULL, &time, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_max_timestamp(log.stream, NULL, &time, &error));
    CHECK(time == 7);
    log_free(&log);
}

static void a_reader_starts_at_a_time(const char *path) {
    struct log log = log_open(path);
    ringlog_reader *reader;
    uint64_t position = 7;
    append_at(log.stream, 1000);
    append_at(log.stream, 3000);
    append_at(log.stream, 2000);
    reader = reader_from(log.stream, RINGLOG_START_TIME, 1001);
    OK(ringlog_reader_position(reader, &position, &error));
    CHECK(position == 1);
    OK(ringlog_reader_seek(reader, RINGLOG_START_TIME, 5000, &error));
    OK(ringlog_reader_position(reader, &position, &error));
    CHECK(position == 3);
    OK(ringlog_reader_seek(reader, RINGLOG_START_TIME, -1, &error));
    OK(ringlog_reader_position(reader, &position, &error));
    CHECK(position == 0);
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_reader_seek(reader, RINGLOG_START_TIME + 1, 0, &error));
    ringlog_reader_free(reader);
    log_free(&log);
}

const struct test time_tests[] = {
    {"records_are_found_by_time", records_are_found_by_time, 1},
    {"a_reader_starts_at_a_time", a_reader_starts_at_a_time, 1},
    {NULL, NULL, 0},
};
