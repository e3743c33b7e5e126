/* Reading: starts, seeks, batches and their views, following. */
#include <pthread.h>
#include <unistd.h>

#include "check.h"

static uint64_t position(ringlog_reader *reader) {
    uint64_t offset = UINT64_MAX;
    OK(ringlog_reader_position(reader, &offset, &error));
    return offset;
}

static void a_reader_starts_where_it_is_told(const char *path) {
    struct log log = log_open(path);
    ringlog_reader *reader = NULL;
    ringlog_batch *batch = (ringlog_batch *)&log;
    int at;
    for (at = 0; at < 4; at++) {
        append(log.stream, "v");
    }
    reader = reader_from(log.stream, RINGLOG_START_LATEST, 0);
    CHECK(position(reader) == 4);
    OK(ringlog_reader_next(reader, 0, 0, &batch, &error));
    CHECK(batch == NULL); /* Nothing there: no error, and no batch. */
    OK(ringlog_reader_seek(reader, RINGLOG_START_OFFSET, 2, &error));
    OK(ringlog_reader_next(reader, 0, 0, &batch, &error));
    CHECK(position(reader) == 3 && ringlog_batch_len(batch) == 1);
    ringlog_batch_free(batch);
    FAILS(RINGLOG_E_OFFSET_OUT_OF_RANGE,
          ringlog_reader_seek(reader, RINGLOG_START_OFFSET, 99, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_reader_seek(reader, RINGLOG_START_OFFSET, -1, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_reader_seek(reader, 42, 0, &error));
    CHECK(position(reader) == 3);
    OK(ringlog_reader_seek(reader, RINGLOG_START_EARLIEST, 0, &error));
    CHECK(position(reader) == 0);
    ringlog_reader_free(reader);
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_reader_open(log.stream, 0, 0, 8, &reader, &error));
    OK(ringlog_reader_open(log.stream, 0, 0, RINGLOG_READ_NO_VERIFY, &reader, &error));
    ringlog_reader_free(reader);
    log_free(&log);
}

/* 10 batches of 7 records whose value is their offset. */
static void fill(ringlog_stream *stream) {
    static const char digits[] = "0123456789";
    char values[70][2];
    ringlog_record records[7];
    int batch, at;
    for (batch = 0; batch < 10; batch++) {
        for (at = 0; at < 7; at++) {
            char *value = values[batch * 7 + at];
            value[0] = digits[(batch * 7 + at) / 10];
            value[1] = digits[(batch * 7 + at) % 10];
            memset(&records[at], 0, sizeof records[at]);
            records[at].value.ptr = value;
            records[at].value.len = 2;
        }
        OK(ringlog_append(stream, records, 7, sizeof *records, 0, RINGLOG_FOREVER, NULL, &error));
    }
}

static void check_view(const ringlog_view *view, uint64_t offset) {
    const char *value = view->value.ptr;
    CHECK(view->offset == offset && view->value.len == 2);
    CHECK((uint64_t)(value[0] - '0') * 10 + (uint64_t)(value[1] - '0') == offset);
}

static void views_come_in_any_portions(const char *path) {
    struct log log = log_open(path);
    ringlog_reader *reader;
    ringlog_batch *batch = NULL;
    ringlog_view views[70];
    size_t portion, from, count, at;
    fill(log.stream);
    reader = reader_from(log.stream, RINGLOG_START_OFFSET, 3);
    OK(ringlog_reader_next(reader, 1 << 20, 0, &batch, &error));
    CHECK(ringlog_batch_parts(batch) == 10 && ringlog_batch_len(batch) == 67);
    for (portion = 1; portion <= 70; portion++) {
        for (from = 0; from < 67; from += count) {
            OK(ringlog_batch_views(batch, from, views, portion, sizeof *views, &count, &error));
            CHECK(count == portion || from + count == 67);
            for (at = 0; at < count; at++) {
                check_view(&views[at], from + at + 3);
            }
        }
    }
    /* Backwards, and beyond the end. */
    for (from = 67; from-- > 0;) {
        OK(ringlog_batch_views(batch, from, views, 1, sizeof *views, &count, &error));
        CHECK(count == 1);
        check_view(views, from + 3);
    }
    OK(ringlog_batch_views(batch, 67, views, 70, sizeof *views, &count, &error));
    CHECK(count == 0);
    OK(ringlog_batch_views(batch, SIZE_MAX, views, 70, sizeof *views, &count, &error));
    CHECK(count == 0);
    OK(ringlog_batch_views(batch, 0, NULL, 0, sizeof *views, &count, &error));
    CHECK(count == 0);
    ringlog_batch_free(batch);
    ringlog_reader_free(reader);
    log_free(&log);
}

static void max_bytes_bounds_a_read_softly(const char *path) {
    struct log log = log_open(path);
    ringlog_reader *reader;
    ringlog_batch *batch = NULL;
    ringlog_bytes bytes;
    fill(log.stream);
    reader = reader_from(log.stream, RINGLOG_START_EARLIEST, 0);
    OK(ringlog_reader_next(reader, 0, 0, &batch, &error));
    CHECK(ringlog_batch_parts(batch) == 1 && ringlog_batch_len(batch) == 7);
    OK(ringlog_batch_bytes(batch, 0, &bytes, &error));
    ringlog_batch_free(batch);
    OK(ringlog_reader_next(reader, bytes.len + 1, 0, &batch, &error));
    CHECK(ringlog_batch_parts(batch) == 2);
    ringlog_batch_free(batch);
    OK(ringlog_reader_next(reader, SIZE_MAX, 0, &batch, &error));
    CHECK(ringlog_batch_parts(batch) == 7 && position(reader) == 70);
    ringlog_batch_free(batch);
    ringlog_reader_free(reader);
    log_free(&log);
}

static void *append_soon(void *stream) {
    usleep(20000);
    append(stream, "late");
    return NULL;
}

static void a_reader_sleeps_until_there_is_more(const char *path) {
    struct log log = log_open(path);
    ringlog_reader *reader = reader_from(log.stream, RINGLOG_START_LATEST, 0);
    ringlog_batch *batch = NULL;
    ringlog_view view;
    size_t count = 0;
    pthread_t thread;
    OK(ringlog_reader_next(reader, 0, 1000000, &batch, &error));
    CHECK(batch == NULL);
    CHECK(pthread_create(&thread, NULL, append_soon, log.stream) == 0);
    OK(ringlog_reader_next(reader, 0, RINGLOG_FOREVER, &batch, &error));
    OK(ringlog_batch_views(batch, 0, &view, 1, sizeof view, &count, &error));
    CHECK(count == 1 && bytes_are(view.value, "late"));
    CHECK(pthread_join(thread, NULL) == 0);
    ringlog_batch_free(batch);
    ringlog_reader_free(reader);
    log_free(&log);
}

const struct test read_tests[] = {
    {"a_reader_starts_where_it_is_told", a_reader_starts_where_it_is_told, 1},
    {"views_come_in_any_portions", views_come_in_any_portions, 1},
    {"max_bytes_bounds_a_read_softly", max_bytes_bounds_a_read_softly, 0},
    {"a_reader_sleeps_until_there_is_more", a_reader_sleeps_until_there_is_more, 0},
    {NULL, NULL, 0},
};
