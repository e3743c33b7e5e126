/* The C half of `ffi/bench/run`. Usage: bench submit|read DIRECTORY SECONDS; prints records a second.
 * What each does stands in bench.rs, which does the same in Rust. */
#include <ringlog.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { IN_FLIGHT = 64, VALUE_BYTES = 1024, SMALL_BYTES = 100, BATCH = 256, BATCHES = 2000 };

static void must(ringlog_status status, ringlog_error *error) {
    if (status != RINGLOG_OK) {
        fprintf(stderr, "%s: %s\n", ringlog_status_name(status), ringlog_error_message(error));
        exit(1);
    }
}

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void submit_all(ringlog_stream *stream, ringlog_cq *queue, size_t count) {
    static char value[VALUE_BYTES];
    ringlog_error *error = NULL;
    ringlog_record record;
    size_t at;
    memset(&record, 0, sizeof record);
    record.value.ptr = value;
    record.value.len = sizeof value;
    for (at = 0; at < count; at++) {
        must(ringlog_submit_append(stream, queue, &record, 1, sizeof record, 0, at, &error), error);
    }
}

static double submit(ringlog_engine *engine, ringlog_stream *stream, double seconds) {
    ringlog_completion done[IN_FLIGHT];
    ringlog_cq *queue = NULL;
    ringlog_error *error = NULL;
    size_t acknowledged = 0, outstanding = IN_FLIGHT, count = 0, at;
    double start, took;
    must(ringlog_cq_new(engine, IN_FLIGHT, &queue, &error), error);
    start = now();
    submit_all(stream, queue, IN_FLIGHT);
    while (outstanding > 0) {
        must(ringlog_cq_poll(queue, done, IN_FLIGHT, sizeof *done, RINGLOG_FOREVER, &count, &error),
             error);
        for (at = 0; at < count; at++) {
            must(done[at].status, done[at].error);
        }
        acknowledged += count;
        outstanding -= count;
        if (now() - start < seconds) {
            submit_all(stream, queue, count);
            outstanding += count;
        }
    }
    took = now() - start;
    ringlog_cq_free(queue);
    return (double)acknowledged / took;
}

static void fill(ringlog_stream *stream) {
    static char value[SMALL_BYTES];
    static ringlog_record records[BATCH];
    ringlog_error *error = NULL;
    int at;
    for (at = 0; at < BATCH; at++) {
        records[at].value.ptr = value;
        records[at].value.len = sizeof value;
    }
    for (at = 0; at < BATCHES; at++) {
        must(ringlog_append(stream, records, BATCH, sizeof *records, 0, RINGLOG_FOREVER, NULL,
                            &error),
             error);
    }
}

static double read_all(ringlog_stream *stream, double seconds) {
    static ringlog_view views[BATCH];
    ringlog_reader *reader = NULL;
    ringlog_error *error = NULL;
    size_t records = 0, bytes = 0, at;
    double start;
    fill(stream);
    must(ringlog_reader_open(stream, RINGLOG_START_EARLIEST, 0, 0, &reader, &error), error);
    start = now();
    while (now() - start < seconds) {
        ringlog_batch *batch = NULL;
        size_t count = 0, from;
        must(ringlog_reader_next(reader, 0, 0, &batch, &error), error);
        if (batch == NULL) {
            must(ringlog_reader_seek(reader, RINGLOG_START_EARLIEST, 0, &error), error);
            continue;
        }
        for (from = 0; from < ringlog_batch_len(batch); from += count) {
            must(ringlog_batch_views(batch, from, views, BATCH, sizeof *views, &count, &error),
                 error);
            for (at = 0; at < count; at++) {
                bytes += views[at].value.len + *(const unsigned char *)views[at].value.ptr;
            }
        }
        records += from;
        ringlog_batch_free(batch);
    }
    start = now() - start;
    if (bytes != records * SMALL_BYTES) {
        fprintf(stderr, "%zu records had %zu bytes\n", records, bytes);
        exit(1);
    }
    ringlog_reader_free(reader);
    return (double)records / start;
}

int main(int argc, char **argv) {
    ringlog_engine *engine = NULL;
    ringlog_topic *topic = NULL;
    ringlog_stream *stream = NULL;
    ringlog_error *error = NULL;
    ringlog_topic_options options;
    int submits = argc > 1 && strcmp(argv[1], "submit") == 0;
    double rate;
    if (argc != 4) {
        return 2;
    }
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.flush = submits ? RINGLOG_FLUSH_SYNC : RINGLOG_FLUSH_ASYNC;
    must(ringlog_open(argv[2], NULL, &engine, &error), error);
    must(ringlog_topic_open_or_create(engine, "t", &options, &topic, &error), error);
    must(ringlog_stream_open(topic, 0, &stream, &error), error);
    rate = submits ? submit(engine, stream, atof(argv[3])) : read_all(stream, atof(argv[3]));
    printf("%.0f\n", rate);
    ringlog_stream_free(stream);
    ringlog_topic_free(topic);
    must(ringlog_close(engine, RINGLOG_FOREVER, &error), error);
    ringlog_engine_free(engine);
    return 0;
}
