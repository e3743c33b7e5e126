/* One thread, one epoll loop, no other: appends are sent without waiting, a reader follows, and
 * both end up in a completion queue whose descriptor the loop watches beside its own timer.
 * Usage: event_loop DIRECTORY */
#include <inttypes.h>
#include <ringlog.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { TICKS = 5, PER_TICK = 200, RECORDS = TICKS * PER_TICK, READ_TAG = UINT32_MAX };

struct loop {
    ringlog_stream *stream;
    ringlog_reader *reader;
    ringlog_cq *queue;
    int ticks, submitted, acknowledged, read;
};

static void must(ringlog_status status, ringlog_error *error, const char *what) {
    if (status != RINGLOG_OK) {
        fprintf(stderr, "%s: %s: %s\n", what, ringlog_status_name(status),
                ringlog_error_message(error));
        exit(1);
    }
}

/* The loop's own business: now and then there is something to append. */
static void tick(struct loop *loop) {
    int at;
    for (at = 0; at < PER_TICK; at++) {
        char text[32];
        ringlog_record record;
        ringlog_error *error = NULL;
        memset(&record, 0, sizeof record);
        record.value.ptr = text;
        record.value.len = (size_t)snprintf(text, sizeof text, "event %d", loop->submitted);
        /* Copied before this returns, and never waits for the device; a full ring would be
         * RINGLOG_E_BUSY, to be tried again after some completions. */
        must(ringlog_submit_append(loop->stream, loop->queue, &record, 1, sizeof record,
                                   RINGLOG_APPEND_NO_WAIT, (uint64_t)loop->submitted, &error),
             error, "submit_append");
        loop->submitted++;
    }
}

static void read_on(struct loop *loop) {
    ringlog_error *error = NULL;
    must(ringlog_submit_read(loop->reader, loop->queue, READ_TAG, &error), error, "submit_read");
}

static void take_batch(struct loop *loop, ringlog_batch *batch) {
    ringlog_view views[64];
    size_t from, count = 0, at;
    ringlog_error *error = NULL;
    for (from = 0; from < ringlog_batch_len(batch); from += count) {
        must(ringlog_batch_views(batch, from, views, 64, sizeof *views, &count, &error), error,
             "views");
        for (at = 0; at < count; at++) {
            char expected[32];
            size_t len = (size_t)snprintf(expected, sizeof expected, "event %d", loop->read);
            if (views[at].value.len != len || memcmp(views[at].value.ptr, expected, len) != 0) {
                fprintf(stderr, "event %d is not what was appended\n", loop->read);
                exit(1);
            }
            loop->read++;
        }
    }
    ringlog_batch_free(batch);
}

static void take_completions(struct loop *loop) {
    ringlog_completion done[128];
    size_t count = 0, at;
    ringlog_error *error = NULL;
    must(ringlog_cq_poll(loop->queue, done, 128, sizeof *done, 0, &count, &error), error, "poll");
    for (at = 0; at < count; at++) {
        must(done[at].status, done[at].error, "completion");
        if (done[at].op == RINGLOG_OP_READ) {
            take_batch(loop, done[at].batch);
            read_on(loop);
        } else {
            loop->acknowledged++;
        }
    }
}

static void watch(int epoll, int fd) {
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        perror("epoll_ctl");
        exit(1);
    }
}

static void run(struct loop *loop) {
    struct itimerspec each = {{0, 2000000}, {0, 2000000}};
    ringlog_error *error = NULL;
    int epoll = epoll_create1(EPOLL_CLOEXEC), timer = timerfd_create(CLOCK_MONOTONIC, 0), fd;
    must(ringlog_cq_fd(loop->queue, &fd, &error), error, "cq_fd");
    timerfd_settime(timer, 0, &each, NULL);
    watch(epoll, timer);
    watch(epoll, fd);
    read_on(loop);
    while (loop->acknowledged < RECORDS || loop->read < RECORDS) {
        struct epoll_event events[2];
        int ready = epoll_wait(epoll, events, 2, -1), at;
        for (at = 0; at < ready; at++) {
            uint64_t expired;
            if (events[at].data.fd == fd) {
                take_completions(loop);
            } else if (read(timer, &expired, sizeof expired) > 0 && loop->ticks < TICKS) {
                loop->ticks++;
                tick(loop);
            }
        }
    }
    close(timer);
    close(epoll);
}

int main(int argc, char **argv) {
    struct loop loop;
    ringlog_engine *engine = NULL;
    ringlog_topic *topic = NULL;
    ringlog_error *error = NULL;
    memset(&loop, 0, sizeof loop);
    must(ringlog_open(argc > 1 ? argv[1] : "data", NULL, &engine, &error), error, "open");
    must(ringlog_topic_open_or_create(engine, "events", NULL, &topic, &error), error, "topic");
    must(ringlog_stream_open(topic, 0, &loop.stream, &error), error, "stream");
    must(ringlog_reader_open(loop.stream, RINGLOG_START_LATEST, 0, 0, &loop.reader, &error), error,
         "reader");
    must(ringlog_cq_new(engine, 4096, &loop.queue, &error), error, "queue");
    run(&loop);
    printf("%d appended and durable, %d read back, by one thread\n", loop.acknowledged, loop.read);
    ringlog_cq_free(loop.queue);
    ringlog_reader_free(loop.reader);
    ringlog_stream_free(loop.stream);
    ringlog_topic_free(topic);
    must(ringlog_close(engine, RINGLOG_DEFAULT_TIMEOUT, &error), error, "close");
    ringlog_engine_free(engine);
    return 0;
}
