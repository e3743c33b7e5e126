/* Reading all partitions of a topic as one, by calls and through a queue. */
#include <pthread.h>
#include <unistd.h>

#include "check.h"

enum { PARTITIONS = 3, RECORDS = 8 };

/* A topic of several partitions, beside the one that every test has. */
struct wide {
    struct log log;
    ringlog_topic *topic;
    ringlog_stream *streams[PARTITIONS];
};

static struct wide wide_open(const char *path) {
    struct wide wide;
    ringlog_topic_options options;
    uint32_t at;
    wide.log = log_open(path);
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.partitions = PARTITIONS;
    OK(ringlog_topic_create(wide.log.engine, "wide", &options, &wide.topic, &error));
    for (at = 0; at < PARTITIONS; at++) {
        OK(ringlog_stream_open(wide.topic, at, &wide.streams[at], &error));
    }
    return wide;
}

static void wide_free(struct wide *wide) {
    int at;
    for (at = 0; at < PARTITIONS; at++) {
        ringlog_stream_free(wide->streams[at]);
    }
    ringlog_topic_free(wide->topic);
    log_free(&wide->log);
}

static ringlog_topic_reader *all_from(struct wide *wide, uint32_t start, int64_t at) {
    ringlog_topic_reader *reader = NULL;
    OK(ringlog_topic_reader_open(wide->topic, start, at, 0, &reader, &error));
    return reader;
}

/* Values that name their partition and offset. */
static void fill(struct wide *wide) {
    char value[3] = "00";
    int partition, at;
    for (at = 0; at < RECORDS; at++) {
        for (partition = 0; partition < PARTITIONS; partition++) {
            value[0] = (char)('0' + partition);
            value[1] = (char)('0' + at);
            CHECK(append(wide->streams[partition], value) == (uint64_t)at);
        }
    }
}

/* Looks at a batch: every record where it says, in order within its partition. */
static void look(ringlog_batch *batch, uint64_t ends[PARTITIONS]) {
    ringlog_view views[PARTITIONS * RECORDS];
    size_t count = 0, at, part;
    OK(ringlog_batch_views(batch, 0, views, PARTITIONS * RECORDS, sizeof *views, &count, &error));
    CHECK(count == ringlog_batch_len(batch) && count == ringlog_batch_parts(batch));
    for (at = 0; at < count; at++) {
        const char *value = views[at].value.ptr;
        uint32_t partition = views[at].partition, of_part = 99;
        CHECK(partition < PARTITIONS && views[at].value.len == 2);
        CHECK(value[0] == (char)('0' + partition));
        CHECK(value[1] == (char)('0' + views[at].offset));
        CHECK(views[at].offset == ends[partition]++);
        /* Each append was a batch of one record. */
        part = at;
        OK(ringlog_batch_partition(batch, part, &of_part, &error));
        CHECK(of_part == partition);
    }
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_batch_partition(batch, ringlog_batch_parts(batch), &(uint32_t){0}, &error));
    ringlog_batch_free(batch);
}

static void a_topic_reader_gives_each_partition_in_order(const char *path) {
    static const size_t max_bytes[] = {0, 200, 1 << 20};
    struct wide wide = wide_open(path);
    size_t at;
    int partition;
    fill(&wide);
    for (at = 0; at < sizeof max_bytes / sizeof *max_bytes; at++) {
        ringlog_topic_reader *reader = all_from(&wide, RINGLOG_START_EARLIEST, 0);
        uint64_t ends[PARTITIONS] = {0}, position;
        ringlog_batch *batch = NULL;
        size_t calls = 0;
        for (;;) {
            OK(ringlog_topic_reader_next(reader, max_bytes[at], 0, &batch, &error));
            if (batch == NULL) {
                break;
            }
            calls++;
            look(batch, ends);
        }
        CHECK(calls == (max_bytes[at] == 0 ? PARTITIONS * RECORDS : calls));
        CHECK(max_bytes[at] < 1 << 20 || calls == 1);
        for (partition = 0; partition < PARTITIONS; partition++) {
            OK(ringlog_topic_reader_position(reader, (uint32_t)partition, &position, &error));
            CHECK(ends[partition] == RECORDS && position == RECORDS);
        }
        ringlog_topic_reader_free(reader);
    }
    wide_free(&wide);
}

static void a_topic_reader_goes_to_a_place_in_each_partition(const char *path) {
    struct wide wide = wide_open(path);
    ringlog_topic_reader *reader;
    uint64_t ends[PARTITIONS] = {RECORDS, 5, RECORDS}, position = 99;
    ringlog_batch *batch = NULL;
    fill(&wide);
    reader = all_from(&wide, RINGLOG_START_LATEST, 0);
    OK(ringlog_topic_reader_next(reader, 0, 0, &batch, &error));
    CHECK(batch == NULL);
    OK(ringlog_topic_reader_seek(reader, 1, RINGLOG_START_OFFSET, 5, &error));
    OK(ringlog_topic_reader_position(reader, 1, &position, &error));
    CHECK(position == 5);
    OK(ringlog_topic_reader_next(reader, 1 << 20, 0, &batch, &error));
    CHECK(ringlog_batch_len(batch) == 3);
    look(batch, ends);
    CHECK(ends[1] == RECORDS);
    FAILS(RINGLOG_E_OFFSET_OUT_OF_RANGE,
          ringlog_topic_reader_seek(reader, 1, RINGLOG_START_OFFSET, 99, &error));
    FAILS(RINGLOG_E_UNKNOWN_PARTITION,
          ringlog_topic_reader_seek(reader, PARTITIONS, RINGLOG_START_EARLIEST, 0, &error));
    FAILS(RINGLOG_E_UNKNOWN_PARTITION,
          ringlog_topic_reader_position(reader, UINT32_MAX, &position, &error));
    OK(ringlog_topic_reader_position(reader, 1, &position, &error));
    CHECK(position == RECORDS);
    ringlog_topic_reader_free(reader);
    FAILS(RINGLOG_E_OFFSET_OUT_OF_RANGE,
          ringlog_topic_reader_open(wide.topic, RINGLOG_START_OFFSET, 99, 0, &reader, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_topic_reader_open(wide.topic, RINGLOG_START_EARLIEST, 0, 8, &reader, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_topic_reader_open(wide.topic, 42, 0, 0, &reader, &error));
    wide_free(&wide);
}

static void *append_soon(void *stream) {
    usleep(20000);
    append(stream, "20");
    return NULL;
}

static void a_topic_reader_sleeps_until_any_partition_has_more(const char *path) {
    struct wide wide = wide_open(path);
    ringlog_topic_reader *reader = all_from(&wide, RINGLOG_START_EARLIEST, 0);
    ringlog_batch *batch = NULL;
    uint64_t ends[PARTITIONS] = {0};
    pthread_t thread;
    OK(ringlog_topic_reader_next(reader, 0, 1000000, &batch, &error));
    CHECK(batch == NULL);
    CHECK(pthread_create(&thread, NULL, append_soon, wide.streams[2]) == 0);
    OK(ringlog_topic_reader_next(reader, 0, RINGLOG_FOREVER, &batch, &error));
    look(batch, ends);
    CHECK(ends[2] == 1);
    CHECK(pthread_join(thread, NULL) == 0);
    OK(ringlog_close(wide.log.engine, 10 * SECOND_NS, &error));
    FAILS(RINGLOG_E_CLOSED,
          ringlog_topic_reader_next(reader, 0, RINGLOG_FOREVER, &batch, &error));
    ringlog_topic_reader_free(reader);
    wide_free(&wide);
}

/* One completion, which must come. */
static ringlog_completion one(ringlog_cq *queue) {
    ringlog_completion done;
    size_t count = 0;
    OK(ringlog_cq_poll(queue, &done, 1, sizeof done, 30 * SECOND_NS, &count, &error));
    CHECK(count == 1);
    return done;
}

static void a_read_of_a_topic_waits_in_the_queue(const char *path) {
    struct wide wide = wide_open(path);
    ringlog_topic_reader *reader = all_from(&wide, RINGLOG_START_EARLIEST, 0);
    ringlog_topic_reader *second = all_from(&wide, RINGLOG_START_EARLIEST, 0);
    ringlog_batch *batch = NULL;
    ringlog_cq *queue = NULL;
    ringlog_completion done;
    uint64_t ends[PARTITIONS] = {0}, position = 99;
    size_t count = 0;
    int at;
    OK(ringlog_cq_new(wide.log.engine, 1, &queue, &error));
    for (at = 0; at < 9; at++) {
        char value[3] = "00";
        int partition = at * 2 % PARTITIONS;
        value[0] = (char)('0' + partition);
        value[1] = (char)('0' + at / PARTITIONS);
        OK(ringlog_submit_topic_read(reader, queue, 70 + (uint64_t)at, &error));
        FAILS(RINGLOG_E_IN_USE, ringlog_submit_topic_read(reader, queue, 6, &error));
        FAILS(RINGLOG_E_IN_USE, ringlog_topic_reader_next(reader, 0, 0, &batch, &error));
        FAILS(RINGLOG_E_IN_USE, ringlog_topic_reader_position(reader, 0, &position, &error));
        OK(ringlog_cq_poll(queue, &done, 1, sizeof done, 0, &count, &error));
        CHECK(count == 0);
        append(wide.streams[partition], value);
        done = one(queue);
        CHECK(done.tag == 70 + (uint64_t)at && done.op == RINGLOG_OP_READ);
        CHECK(done.status == RINGLOG_OK && done.partition == (uint32_t)partition);
        CHECK(done.first_offset == ends[partition] && done.last_offset == ends[partition]);
        look(done.batch, ends);
    }
    OK(ringlog_submit_topic_read(reader, queue, 1, &error));
    FAILS(RINGLOG_E_QUEUE_FULL, ringlog_submit_topic_read(second, queue, 2, &error));
    /* The reader that was refused is the caller's again, and where it was. */
    OK(ringlog_topic_reader_position(second, 1, &position, &error));
    CHECK(position == 0);
    /* Freed while it waits: it completes all the same. */
    ringlog_topic_reader_free(reader);
    append(wide.streams[1], "13");
    done = one(queue);
    CHECK(done.tag == 1 && done.status == RINGLOG_OK && done.partition == 1);
    look(done.batch, ends);
    /* The close completes what waits. */
    OK(ringlog_topic_reader_seek(second, 0, RINGLOG_START_LATEST, 0, &error));
    OK(ringlog_topic_reader_seek(second, 1, RINGLOG_START_LATEST, 0, &error));
    OK(ringlog_topic_reader_seek(second, 2, RINGLOG_START_LATEST, 0, &error));
    OK(ringlog_submit_topic_read(second, queue, 3, &error));
    OK(ringlog_close(wide.log.engine, 10 * SECOND_NS, &error));
    done = one(queue);
    CHECK(done.tag == 3 && done.status == RINGLOG_E_CLOSED && done.batch == NULL);
    CHECK(ringlog_error_code(done.error) == RINGLOG_E_CLOSED);
    ringlog_error_free(done.error);
    OK(ringlog_topic_reader_position(second, 1, &position, &error));
    CHECK(position == 4);
    ringlog_topic_reader_free(second);
    ringlog_cq_free(queue);
    wide_free(&wide);
}

static void handles_of_another_kind_are_no_topic_readers(const char *path) {
    struct wide wide = wide_open(path);
    ringlog_reader *other = reader_from(wide.log.stream, RINGLOG_START_EARLIEST, 0);
    ringlog_topic_reader *wrong = (ringlog_topic_reader *)(void *)other, *reader = NULL;
    ringlog_batch *batch = NULL;
    ringlog_cq *queue = NULL;
    uint64_t position = 0;
    OK(ringlog_cq_new(wide.log.engine, 1, &queue, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_topic_reader_next(wrong, 0, 0, &batch, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_submit_topic_read(wrong, queue, 0, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_topic_reader_seek(NULL, 0, 0, 0, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_topic_reader_next(NULL, 0, 0, &batch, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_submit_topic_read(NULL, queue, 0, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_topic_reader_open(NULL, RINGLOG_START_EARLIEST, 0, 0, &reader, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_topic_reader_open(wide.topic, RINGLOG_START_EARLIEST, 0, 0, NULL, &error));
    reader = all_from(&wide, RINGLOG_START_EARLIEST, 0);
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_submit_topic_read(reader, NULL, 0, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_topic_reader_next(reader, 0, 0, NULL, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_topic_reader_position(reader, 0, NULL, &error));
    /* None of these took the reader away. */
    OK(ringlog_topic_reader_position(reader, 0, &position, &error));
    ringlog_topic_reader_free(wrong); /* Not taken, either. */
    ringlog_topic_reader_free(NULL);
    ringlog_topic_reader_free(reader);
    ringlog_reader_free(other);
    ringlog_cq_free(queue);
    wide_free(&wide);
}

const struct test all_tests[] = {
    {"a_topic_reader_gives_each_partition_in_order", a_topic_reader_gives_each_partition_in_order,
     1},
    {"a_topic_reader_goes_to_a_place_in_each_partition",
     a_topic_reader_goes_to_a_place_in_each_partition, 1},
    {"a_topic_reader_sleeps_until_any_partition_has_more",
     a_topic_reader_sleeps_until_any_partition_has_more, 0},
    {"a_read_of_a_topic_waits_in_the_queue", a_read_of_a_topic_waits_in_the_queue, 1},
    {"handles_of_another_kind_are_no_topic_readers", handles_of_another_kind_are_no_topic_readers,
     1},
    {NULL, NULL, 0},
};
