/* The completion queue: each submission comes back once, whatever becomes of it. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "check.h"

static ringlog_cq *queue_of(struct log *log, size_t capacity) {
    ringlog_cq *queue = NULL;
    OK(ringlog_cq_new(log->engine, capacity, &queue, &error));
    return queue;
}

static void submit(struct log *log, ringlog_cq *queue, uint64_t tag) {
    ringlog_record record = record_of("v");
    OK(ringlog_submit_append(log->stream, queue, &record, 1, sizeof record, 0, tag, &error));
}

/* One completion, which must come. */
static ringlog_completion one(ringlog_cq *queue) {
    ringlog_completion done;
    size_t count = 0;
    OK(ringlog_cq_poll(queue, &done, 1, sizeof done, 30 * SECOND_NS, &count, &error));
    CHECK(count == 1);
    return done;
}

static void appends_come_back_in_order_with_their_tags(const char *path) {
    struct log log = log_open(path);
    ringlog_cq *queue = queue_of(&log, 100);
    uint64_t tag;
    for (tag = 0; tag < 100; tag++) {
        submit(&log, queue, tag + 1000);
    }
    for (tag = 0; tag < 100; tag++) {
        ringlog_completion done = one(queue);
        CHECK(done.tag == tag + 1000 && done.status == RINGLOG_OK && done.error == NULL);
        CHECK(done.op == RINGLOG_OP_APPEND && done.partition == 0 && done.batch == NULL);
        CHECK(done.first_offset == tag && done.last_offset == tag);
    }
    ringlog_cq_free(queue);
    log_free(&log);
}

static void a_full_queue_says_so_and_writes_nothing(const char *path) {
    struct log log = log_open(path);
    ringlog_cq *queue = queue_of(&log, 2);
    ringlog_record record = record_of("v");
    ringlog_reader *reader = reader_from(log.stream, RINGLOG_START_EARLIEST, 0);
    ringlog_stream_info info;
    uint64_t position = 7;
    submit(&log, queue, 1);
    submit(&log, queue, 2);
    FAILS(RINGLOG_E_QUEUE_FULL, ringlog_submit_append(log.stream, queue, &record, 1, sizeof record,
                                                      0, 3, &error));
    FAILS(RINGLOG_E_QUEUE_FULL, ringlog_submit_flush(log.engine, queue, 3, &error));
    FAILS(RINGLOG_E_QUEUE_FULL, ringlog_submit_read(reader, queue, 3, &error));
    /* The reader is the caller's again, and where it was. */
    OK(ringlog_reader_position(reader, &position, &error));
    CHECK(position == 0);
    CHECK(one(queue).tag == 1 && one(queue).tag == 2);
    OK(ringlog_stream_describe(log.stream, &info, sizeof info, &error));
    CHECK(info.end == 2);
    submit(&log, queue, 3);
    CHECK(one(queue).tag == 3);
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_cq_new(log.engine, 0, &queue, &error));
    ringlog_reader_free(reader);
    ringlog_cq_free(queue);
    log_free(&log);
}

static void a_read_waits_in_the_queue_and_gives_the_reader_back(const char *path) {
    struct log log = log_open(path);
    ringlog_cq *queue = queue_of(&log, 8);
    ringlog_reader *reader = reader_from(log.stream, RINGLOG_START_LATEST, 0);
    ringlog_batch *batch = NULL;
    ringlog_completion done;
    ringlog_view view;
    size_t count = 0;
    uint64_t position = 0;
    OK(ringlog_submit_read(reader, queue, 5, &error));
    FAILS(RINGLOG_E_IN_USE, ringlog_submit_read(reader, queue, 6, &error));
    FAILS(RINGLOG_E_IN_USE, ringlog_reader_next(reader, 0, 0, &batch, &error));
    FAILS(RINGLOG_E_IN_USE, ringlog_reader_seek(reader, 0, 0, &error));
    OK(ringlog_cq_poll(queue, &done, 1, sizeof done, 1000000, &count, &error));
    CHECK(count == 0);
    append(log.stream, "came");
    done = one(queue);
    CHECK(done.tag == 5 && done.op == RINGLOG_OP_READ && done.status == RINGLOG_OK);
    CHECK(done.first_offset == 0 && done.last_offset == 0);
    OK(ringlog_batch_views(done.batch, 0, &view, 1, sizeof view, &count, &error));
    CHECK(count == 1 && bytes_are(view.value, "came"));
    ringlog_batch_free(done.batch);
    OK(ringlog_reader_position(reader, &position, &error));
    CHECK(position == 1);
    /* Freed while it waits: it completes all the same. */
    OK(ringlog_submit_read(reader, queue, 9, &error));
    ringlog_reader_free(reader);
    append(log.stream, "late");
    done = one(queue);
    CHECK(done.tag == 9 && done.status == RINGLOG_OK);
    ringlog_batch_free(done.batch);
    ringlog_cq_free(queue);
    log_free(&log);
}

static void a_flush_comes_after_what_was_written(const char *path) {
    struct log log = log_open_async(path);
    ringlog_cq *queue = queue_of(&log, 8);
    ringlog_stream_info info;
    ringlog_completion done;
    append(log.stream, "v");
    OK(ringlog_submit_flush(log.engine, queue, 4, &error));
    done = one(queue);
    CHECK(done.tag == 4 && done.op == RINGLOG_OP_FLUSH && done.status == RINGLOG_OK);
    OK(ringlog_stream_describe(log.stream, &info, sizeof info, &error));
    CHECK(info.durable_end == 1);
    append(log.stream, "w");
    OK(ringlog_flush(log.engine, RINGLOG_DEFAULT_TIMEOUT, &error));
    OK(ringlog_stream_describe(log.stream, &info, sizeof info, &error));
    CHECK(info.durable_end == 2);
    ringlog_cq_free(queue);
    log_free(&log);
}

static int readable(int fd, int timeout_ms) {
    struct pollfd poll_fd = {fd, POLLIN, 0};
    return poll(&poll_fd, 1, timeout_ms) == 1;
}

static void the_descriptor_tells_of_completions(const char *path) {
    struct log log = log_open(path);
    ringlog_cq *queue = queue_of(&log, 8);
    ringlog_completion done[8];
    size_t count = 0, seen = 0;
    int fd = -1;
    OK(ringlog_cq_fd(queue, &fd, &error));
    CHECK(!readable(fd, 0));
    submit(&log, queue, 1);
    submit(&log, queue, 2);
    while (seen < 2) {
        CHECK(readable(fd, 30000));
        OK(ringlog_cq_poll(queue, done, 8, sizeof *done, 0, &count, &error));
        seen += count;
    }
    OK(ringlog_cq_poll(queue, done, 8, sizeof *done, 0, &count, &error));
    CHECK(count == 0 && !readable(fd, 0));
    ringlog_cq_free(queue);
    log_free(&log);
}

static ringlog_cq *woken_by_signal;

static void on_alarm(int signal) {
    (void)signal;
    ringlog_cq_wake(woken_by_signal);
}

static void *wake_soon(void *queue) {
    usleep(20000);
    ringlog_cq_wake(queue);
    return NULL;
}

static void wake_ends_a_poll_from_a_thread_and_from_a_signal(const char *path) {
    struct log log = log_open(path);
    ringlog_cq *queue = queue_of(&log, 8);
    ringlog_completion done;
    size_t count = 7;
    pthread_t thread;
    ringlog_cq_wake(queue);
    OK(ringlog_cq_poll(queue, &done, 1, sizeof done, RINGLOG_FOREVER, &count, &error));
    CHECK(count == 0);
    CHECK(pthread_create(&thread, NULL, wake_soon, queue) == 0);
    OK(ringlog_cq_poll(queue, &done, 1, sizeof done, RINGLOG_FOREVER, &count, &error));
    CHECK(count == 0 && pthread_join(thread, NULL) == 0);
    woken_by_signal = queue;
    CHECK(signal(SIGALRM, on_alarm) != SIG_ERR);
    alarm(1);
    OK(ringlog_cq_poll(queue, &done, 1, sizeof done, RINGLOG_FOREVER, &count, &error));
    CHECK(count == 0);
    ringlog_cq_wake(NULL);
    ringlog_cq_free(queue);
    log_free(&log);
}

static void close_completes_what_is_under_way(const char *path) {
    struct log log = log_open(path);
    ringlog_cq *queue = queue_of(&log, 64);
    ringlog_reader *reader = reader_from(log.stream, RINGLOG_START_LATEST, 0);
    ringlog_record record = record_of("v");
    uint64_t tag;
    int reads = 0;
    OK(ringlog_submit_read(reader, queue, 100, &error));
    for (tag = 0; tag < 50; tag++) {
        submit(&log, queue, tag);
    }
    OK(ringlog_close(log.engine, 10 * SECOND_NS, &error));
    for (tag = 0; tag < 51; tag++) {
        ringlog_completion done = one(queue);
        if (done.op == RINGLOG_OP_READ) {
            CHECK(done.status == RINGLOG_OK || done.status == RINGLOG_E_CLOSED);
            reads++;
        } else {
            CHECK(done.status == RINGLOG_OK); /* Close flushed it. */
        }
        ringlog_error_free(done.error);
        ringlog_batch_free(done.batch);
    }
    CHECK(reads == 1);
    FAILS(RINGLOG_E_CLOSED, ringlog_submit_append(log.stream, queue, &record, 1, sizeof record, 0, 0,
                                                  &error));
    FAILS(RINGLOG_E_CLOSED, ringlog_submit_flush(log.engine, queue, 0, &error));
    ringlog_reader_free(reader);
    ringlog_cq_free(queue);
    log_free(&log);
}

static void what_is_submitted_must_be_of_the_same_engine(const char *path) {
    struct log log = log_open(path), other;
    ringlog_cq *queue;
    ringlog_record record = record_of("v");
    char own[4096];
    snprintf(own, sizeof own, "%s.other", path);
    other = log_open(own);
    queue = queue_of(&other, 8);
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_submit_append(log.stream, queue, &record, 1, sizeof record, 0, 0, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_submit_flush(log.engine, queue, 0, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_submit_append(log.stream, NULL, &record, 1, sizeof record, 0, 0, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_cq_poll(NULL, NULL, 0, 0, 0, NULL, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_cq_fd(queue, NULL, &error));
    ringlog_cq_free(NULL);
    ringlog_cq_free(queue);
    log_free(&other);
    log_free(&log);
}

#define SUBMITTERS 16

struct submitter {
    struct log *log;
    ringlog_cq *queue;
    uint64_t base;
};

static void *submit_many(void *from) {
    struct submitter *submitter = from;
    ringlog_record record = record_of("v");
    uint64_t at = 0;
    while (at < 100) {
        ringlog_status status = ringlog_submit_append(submitter->log->stream, submitter->queue,
                                                      &record, 1, sizeof record, 0,
                                                      submitter->base + at, NULL);
        CHECK(status == RINGLOG_OK || status == RINGLOG_E_QUEUE_FULL);
        if (status == RINGLOG_OK) {
            at++;
        } else {
            usleep(100);
        }
    }
    return NULL;
}

static void each_submission_of_many_threads_completes_once(const char *path) {
    struct log log = log_open_async(path);
    ringlog_cq *queue = queue_of(&log, 64);
    struct submitter submitters[SUBMITTERS];
    pthread_t threads[SUBMITTERS];
    static char seen[SUBMITTERS * 100];
    int at;
    for (at = 0; at < SUBMITTERS; at++) {
        submitters[at].log = &log;
        submitters[at].queue = queue;
        submitters[at].base = (uint64_t)at * 100;
        CHECK(pthread_create(&threads[at], NULL, submit_many, &submitters[at]) == 0);
    }
    for (at = 0; at < SUBMITTERS * 100; at++) {
        ringlog_completion done = one(queue);
        CHECK(done.status == RINGLOG_OK && done.tag < sizeof seen && seen[done.tag]++ == 0);
    }
    for (at = 0; at < SUBMITTERS; at++) {
        CHECK(pthread_join(threads[at], NULL) == 0);
    }
    ringlog_cq_free(queue);
    log_free(&log);
}

const struct test queue_tests[] = {
    {"appends_come_back_in_order_with_their_tags", appends_come_back_in_order_with_their_tags, 1},
    {"a_full_queue_says_so_and_writes_nothing", a_full_queue_says_so_and_writes_nothing, 1},
    {"a_read_waits_in_the_queue_and_gives_the_reader_back",
     a_read_waits_in_the_queue_and_gives_the_reader_back, 1},
    {"a_flush_comes_after_what_was_written", a_flush_comes_after_what_was_written, 0},
    {"the_descriptor_tells_of_completions", the_descriptor_tells_of_completions, 0},
    {"wake_ends_a_poll_from_a_thread_and_from_a_signal",
     wake_ends_a_poll_from_a_thread_and_from_a_signal, 0},
    {"close_completes_what_is_under_way", close_completes_what_is_under_way, 1},
    {"what_is_submitted_must_be_of_the_same_engine", what_is_submitted_must_be_of_the_same_engine,
     0},
    {"each_submission_of_many_threads_completes_once",
     each_submission_of_many_threads_completes_once, 0},
    {NULL, NULL, 0},
};
