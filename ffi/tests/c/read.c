/* Reading: starts, seeks, batches and their views, following. */
#include <fcntl.h>
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

static void compressed_batches_are_read_like_others(const char *path) {
    struct log log = log_open(path);
    ringlog_topic_options options;
    uint32_t codec;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.timestamps = RINGLOG_TIME_APPEND;
    for (codec = RINGLOG_COMPRESSION_GZIP; codec <= RINGLOG_COMPRESSION_ZSTD; codec++) {
        char name[16];
        ringlog_topic *topic = NULL;
        ringlog_stream *stream = NULL;
        ringlog_reader *reader;
        ringlog_batch *batch = NULL;
        ringlog_view views[70];
        ringlog_bytes bytes;
        size_t count, at;
        snprintf(name, sizeof name, "c%u", codec);
        options.compression = codec;
        OK(ringlog_topic_create(log.engine, name, &options, &topic, &error));
        OK(ringlog_stream_open(topic, 0, &stream, &error));
        fill(stream);
        reader = reader_from(stream, RINGLOG_START_OFFSET, 3);
        OK(ringlog_reader_next(reader, 1 << 20, 0, &batch, &error));
        OK(ringlog_batch_bytes(batch, 0, &bytes, &error));
        CHECK((((const unsigned char *)bytes.ptr)[22] & 7) == codec);
        OK(ringlog_batch_views(batch, 0, views, 70, sizeof *views, &count, &error));
        CHECK(count == 67);
        for (at = 0; at < count; at++) {
            check_view(&views[at], at + 3);
            CHECK(views[at].flags == RINGLOG_VIEW_APPEND_TIME);
        }
        ringlog_batch_free(batch);
        ringlog_reader_free(reader);
        ringlog_stream_free(stream);
        ringlog_topic_free(topic);
    }
    log_free(&log);
}

/* All record batches of a partition as a reader gives them, one after the other. */
static size_t read_all(ringlog_stream *stream, char *to) {
    ringlog_reader *reader = reader_from(stream, RINGLOG_START_EARLIEST, 0);
    ringlog_batch *batch = NULL;
    size_t len = 0, part;
    for (;;) {
        OK(ringlog_reader_next(reader, 1 << 20, 0, &batch, &error));
        if (batch == NULL) {
            break;
        }
        for (part = 0; part < ringlog_batch_parts(batch); part++) {
            ringlog_bytes bytes;
            OK(ringlog_batch_bytes(batch, part, &bytes, &error));
            CHECK(len + bytes.len <= 4 << 20);
            memcpy(to + len, bytes.ptr, bytes.len);
            len += bytes.len;
        }
        ringlog_batch_free(batch);
    }
    ringlog_reader_free(reader);
    return len;
}

/* The same through extents; how many pieces lay in files comes back in `files`. */
static size_t extents_all(ringlog_stream *stream, uint64_t end, char *to, size_t *files) {
    ringlog_extents *extents = NULL;
    ringlog_extent pieces[64];
    uint64_t next = 0, before;
    size_t len = 0, from, count, at;
    while (next < end) {
        before = next;
        OK(ringlog_extents_new(stream, next, 16 << 10, &extents, &next, &error));
        CHECK(next > before);
        for (from = 0; from < ringlog_extents_len(extents); from += count) {
            OK(ringlog_extents_get(extents, from, pieces, 64, sizeof *pieces, &count, &error));
            for (at = 0; at < count; at++) {
                CHECK(len + pieces[at].len <= 4 << 20);
                if (pieces[at].fd >= 0) {
                    CHECK(pread(pieces[at].fd, to + len, pieces[at].len,
                                (off_t)pieces[at].offset) == (ssize_t)pieces[at].len);
                    ++*files;
                } else {
                    memcpy(to + len, pieces[at].memory, pieces[at].len);
                }
                len += pieces[at].len;
            }
        }
        ringlog_extents_free(extents);
    }
    return len;
}

static void extents_name_whole_batches(const char *path) {
    struct log log = log_open_async(path);
    ringlog_extents *extents = NULL;
    char *named = malloc(4 << 20), *wanted = malloc(4 << 20), *value = malloc(10000);
    ringlog_record record;
    size_t len, files = 0;
    uint64_t next = 0, at;
    CHECK(named != NULL && wanted != NULL && value != NULL);
    memset(value, 'x', 10000);
    memset(&record, 0, sizeof record);
    record.value.ptr = value;
    record.value.len = 10000;
    for (at = 0; at < 200; at++) {
        OK(ringlog_append(log.stream, &record, 1, sizeof record, 0, RINGLOG_FOREVER, NULL, &error));
    }
    len = read_all(log.stream, wanted);
    CHECK(len > 2000000 && extents_all(log.stream, 200, named, &files) == len);
    /* Eight times the ring: most of it lies in segments. */
    CHECK(files > 0 && memcmp(named, wanted, len) == 0);
    OK(ringlog_extents_new(log.stream, 200, 1, &extents, &next, &error));
    CHECK(ringlog_extents_len(extents) == 0 && next == 200);
    ringlog_extents_free(extents);
    FAILS(RINGLOG_E_OFFSET_OUT_OF_RANGE,
          ringlog_extents_new(log.stream, 201, 1, &extents, &next, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_extents_new(NULL, 0, 1, &extents, &next, &error));
    ringlog_extents_free(NULL);
    free(named);
    free(wanted);
    free(value);
    log_free(&log);
}

static void a_sender_sends_what_a_pipe_takes(const char *path) {
    struct log log = log_open(path);
    ringlog_sender *sender = NULL;
    ringlog_sent sent;
    uint64_t total = 0;
    char drain[4096];
    int ends[2];
    ssize_t got;
    fill(log.stream);
    CHECK(pipe2(ends, O_NONBLOCK) == 0);
    OK(ringlog_sender_open(log.stream, 0, &sender, &error));
    do {
        OK(ringlog_sender_send(sender, ends[1], 1 << 20, 0, &sent, sizeof sent, &error));
        while ((got = read(ends[0], drain, sizeof drain)) > 0) {
            total += (uint64_t)got;
        }
    } while (!sent.complete);
    CHECK(sent.next_offset == 70 && total > 140);
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_sender_send(sender, -1, 1, 0, &sent, sizeof sent, &error));
    append(log.stream, "v");
    close(ends[0]);
    FAILS(RINGLOG_E_PEER, ringlog_sender_send(sender, ends[1], 1, 0, &sent, sizeof sent, &error));
    close(ends[1]);
    ringlog_sender_free(sender);
    ringlog_sender_free(NULL);
    log_free(&log);
}

const struct test read_tests[] = {
    {"compressed_batches_are_read_like_others", compressed_batches_are_read_like_others, 0},
    {"extents_name_whole_batches", extents_name_whole_batches, 0},
    {"a_sender_sends_what_a_pipe_takes", a_sender_sends_what_a_pipe_takes, 1},
    {"a_reader_starts_where_it_is_told", a_reader_starts_where_it_is_told, 1},
    {"views_come_in_any_portions", views_come_in_any_portions, 1},
    {"max_bytes_bounds_a_read_softly", max_bytes_bounds_a_read_softly, 0},
    {"a_reader_sleeps_until_there_is_more", a_reader_sleeps_until_there_is_more, 0},
    {NULL, NULL, 0},
};
