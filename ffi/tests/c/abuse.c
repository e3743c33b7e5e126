/* Many threads on one handle, many opens, a fork: no crash, no hang, no leak. */
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define THREADS 64
#define EACH 50

static void *append_many(void *stream) {
    int at;
    for (at = 0; at < EACH; at++) {
        append(stream, "v");
    }
    return NULL;
}

static void sixty_four_threads_on_one_handle(const char *path) {
    struct log log = log_open_async(path);
    ringlog_stream_info info;
    pthread_t threads[THREADS];
    int at;
    for (at = 0; at < THREADS; at++) {
        CHECK(pthread_create(&threads[at], NULL, append_many, log.stream) == 0);
    }
    for (at = 0; at < THREADS; at++) {
        CHECK(pthread_join(threads[at], NULL) == 0);
    }
    OK(ringlog_stream_describe(log.stream, &info, sizeof info, &error));
    CHECK(info.end == THREADS * EACH);
    log_free(&log);
}

struct shared_batch {
    ringlog_batch *batch;
    size_t len;
};

static void *look_at_all(void *from) {
    const struct shared_batch *shared = from;
    ringlog_view views[3];
    size_t at, count, round;
    for (round = 0; round < 20; round++) {
        for (at = 0; at < shared->len; at += count) {
            OK(ringlog_batch_views(shared->batch, at, views, 3, sizeof *views, &count, &error));
            CHECK(count > 0 && views[0].offset == at && bytes_are(views[0].value, "v"));
        }
    }
    ringlog_batch_free(shared->batch);
    return NULL;
}

static void many_threads_look_at_one_batch(const char *path) {
    struct log log = log_open_async(path);
    ringlog_reader *reader;
    struct shared_batch shared = {NULL, 0};
    pthread_t threads[8];
    int at;
    append_many(log.stream);
    reader = reader_from(log.stream, RINGLOG_START_EARLIEST, 0);
    OK(ringlog_reader_next(reader, 1 << 20, 0, &shared.batch, &error));
    ringlog_reader_free(reader);
    log_free(&log);
    shared.len = ringlog_batch_len(shared.batch);
    CHECK(shared.len == EACH);
    for (at = 0; at < 8; at++) {
        ringlog_batch_ref(shared.batch);
        CHECK(pthread_create(&threads[at], NULL, look_at_all, &shared) == 0);
    }
    for (at = 0; at < 8; at++) {
        CHECK(pthread_join(threads[at], NULL) == 0);
    }
    ringlog_batch_free(shared.batch);
}

static void *read_or_be_told(void *from) {
    ringlog_reader *reader = from;
    int at;
    for (at = 0; at < 200; at++) {
        ringlog_batch *batch = NULL;
        ringlog_status status = ringlog_reader_next(reader, 0, 0, &batch, NULL);
        CHECK(status == RINGLOG_OK || status == RINGLOG_E_IN_USE);
        ringlog_batch_free(batch);
    }
    return NULL;
}

/* A reader is for one thread at a time; breaking that is a typed error, not a torn reader. */
static void a_reader_used_by_two_threads_says_so(const char *path) {
    struct log log = log_open_async(path);
    ringlog_reader *reader;
    pthread_t threads[4];
    int at;
    append_many(log.stream);
    reader = reader_from(log.stream, RINGLOG_START_EARLIEST, 0);
    for (at = 0; at < 4; at++) {
        CHECK(pthread_create(&threads[at], NULL, read_or_be_told, reader) == 0);
    }
    for (at = 0; at < 4; at++) {
        CHECK(pthread_join(threads[at], NULL) == 0);
    }
    ringlog_reader_free(reader);
    log_free(&log);
}

static long entries(const char *path) {
    DIR *dir = opendir(path);
    long count = 0;
    CHECK(dir != NULL);
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count - 2; /* . and .. */
}

static long resident_kib(void) {
    long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%ld %ld", &total, &resident) == 2);
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void cycle(const char *path) {
    struct log log = log_open(path);
    ringlog_reader *reader = reader_from(log.stream, RINGLOG_START_LATEST, 0);
    ringlog_batch *batch = NULL;
    append(log.stream, "v");
    OK(ringlog_reader_next(reader, 0, SECOND_NS, &batch, &error));
    FAILS(RINGLOG_E_UNKNOWN_TOPIC, ringlog_topic_open(log.engine, "x", &log.topic, &error));
    log_free(&log);
    ringlog_batch_free(batch);
    ringlog_reader_free(reader);
}

/* A thread that has ended stays in /proc for an instant. */
static void settle(long fds, long threads) {
    int at;
    for (at = 0; at < 200 && entries("/proc/self/task") > threads; at++) {
        usleep(10000);
    }
    CHECK(entries("/proc/self/task") == threads && entries("/proc/self/fd") == fds);
}

static void opening_and_closing_leaves_nothing_behind(const char *path) {
    const char *wanted = getenv("RINGLOG_CYCLES");
    long cycles = wanted == NULL ? 200 : atol(wanted);
    long at, fds, threads, resident, allowed;
    for (at = 0; at < 50; at++) {
        cycle(path);
    }
    settle(entries("/proc/self/fd"), 1);
    fds = entries("/proc/self/fd");
    threads = entries("/proc/self/task");
    resident = resident_kib();
    for (at = 0; at < cycles; at++) {
        cycle(path);
    }
    settle(fds, threads);
    /* What stays is the allocator's, and does not grow with the cycles: 4 MiB is 20 KiB for each
     * of 200, and less than a half for each of 10,000. A sanitizer keeps what was freed. */
    allowed = getenv("RINGLOG_TEST_SANITIZER") == NULL ? 4 << 10 : 1 << 20;
    if (resident_kib() > resident + allowed) {
        fprintf(stderr, "%ld cycles: from %ld to %ld KiB\n", cycles, resident, resident_kib());
        exit(1);
    }
}

/* Everything that a child may do with its parent's handles: be refused, and free them. */
static int in_child(struct log *log, ringlog_reader *reader, ringlog_topic_reader *all,
                    ringlog_batch *batch, ringlog_cq *queue, const char *own) {
    ringlog_record record = record_of("v");
    ringlog_completion done;
    ringlog_batch *more = NULL;
    ringlog_view view;
    struct log fresh;
    size_t count;
    /* Should anything wait after all. */
    alarm(60);
    FAILS(RINGLOG_E_FORKED,
          ringlog_append(log->stream, &record, 1, sizeof record, 0, RINGLOG_FOREVER, NULL, &error));
    FAILS(RINGLOG_E_FORKED, ringlog_submit_append(log->stream, queue, &record, 1, sizeof record, 0,
                                                  0, &error));
    FAILS(RINGLOG_E_FORKED, ringlog_cq_poll(queue, &done, 1, sizeof done, RINGLOG_FOREVER, &count,
                                            &error));
    FAILS(RINGLOG_E_FORKED, ringlog_reader_next(reader, 0, RINGLOG_FOREVER, &more, &error));
    FAILS(RINGLOG_E_FORKED, ringlog_topic_reader_next(all, 0, RINGLOG_FOREVER, &more, &error));
    FAILS(RINGLOG_E_FORKED, ringlog_submit_topic_read(all, queue, 0, &error));
    FAILS(RINGLOG_E_FORKED, ringlog_batch_views(batch, 0, &view, 1, sizeof view, &count, &error));
    FAILS(RINGLOG_E_FORKED, ringlog_flush(log->engine, RINGLOG_FOREVER, &error));
    FAILS(RINGLOG_E_FORKED, ringlog_topic_create(log->engine, "x", NULL, NULL, &error));
    FAILS(RINGLOG_E_FORKED, ringlog_close(log->engine, RINGLOG_FOREVER, &error));
    ringlog_cq_wake(queue);
    ringlog_batch_free(batch);
    ringlog_reader_free(reader);
    ringlog_topic_reader_free(all);
    ringlog_cq_free(queue);
    ringlog_stream_free(log->stream);
    ringlog_topic_free(log->topic);
    ringlog_engine_free(log->engine);
    /* An engine of its own is fine. */
    fresh = log_open(own);
    append(fresh.stream, "child");
    log_free(&fresh);
    return 0;
}

static void a_child_is_refused_and_its_parent_goes_on(const char *path) {
    struct log log = log_open(path);
    ringlog_record record = record_of("v");
    ringlog_reader *reader = reader_from(log.stream, RINGLOG_START_EARLIEST, 0);
    ringlog_topic_reader *all = NULL;
    ringlog_batch *batch = NULL;
    ringlog_cq *queue = NULL;
    ringlog_completion done[64];
    char own[4096];
    size_t count, seen = 0;
    uint64_t tag;
    int status = -1;
    pid_t child;
    snprintf(own, sizeof own, "%s.child", path);
    append(log.stream, "v");
    OK(ringlog_reader_next(reader, 0, 0, &batch, &error));
    OK(ringlog_topic_reader_open(log.topic, RINGLOG_START_EARLIEST, 0, 0, &all, &error));
    OK(ringlog_cq_new(log.engine, 64, &queue, &error));
    for (tag = 0; tag < 64; tag++) {
        OK(ringlog_submit_append(log.stream, queue, &record, 1, sizeof record, 0, tag, &error));
    }
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        _exit(in_child(&log, reader, all, batch, queue, own));
    }
    while (seen < 64) {
        size_t at;
        OK(ringlog_cq_poll(queue, done, 64, sizeof *done, 30 * SECOND_NS, &count, &error));
        for (at = 0; at < count; at++) {
            CHECK(done[at].status == RINGLOG_OK && done[at].first_offset == done[at].tag + 1);
        }
        CHECK(count > 0);
        seen += count;
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(append(log.stream, "w") == 65);
    ringlog_topic_reader_free(all);
    ringlog_cq_free(queue);
    ringlog_batch_free(batch);
    ringlog_reader_free(reader);
    log_free(&log);
}

/* A parent that forks a child, and waits to be killed; the child lives on. */
static void leave_a_child(const char *path, int tell) {
    struct log log = log_open(path);
    pid_t child;
    append(log.stream, "v");
    child = fork();
    if (child == 0) {
        pid_t own = getpid();
        alarm(60);
        CHECK(write(tell, &own, sizeof own) == sizeof own);
    }
    for (;;) {
        pause();
    }
}

static void a_child_does_not_keep_the_directory_of_its_dead_parent(const char *path) {
    ringlog_open_options options = small_options();
    ringlog_engine *engine = NULL;
    pid_t parent, child;
    int ends[2];
    CHECK(pipe(ends) == 0);
    parent = fork();
    CHECK(parent >= 0);
    if (parent == 0) {
        alarm(60);
        leave_a_child(path, ends[1]);
    }
    CHECK(read(ends[0], &child, sizeof child) == sizeof child);
    CHECK(kill(parent, SIGKILL) == 0 && waitpid(parent, NULL, 0) == parent);
    CHECK(kill(child, 0) == 0);
    /* The kernel may need a moment for what the dead one had in flight. */
    options.lock_timeout_ns = 10 * SECOND_NS;
    OK(ringlog_open(path, &options, &engine, &error));
    CHECK(kill(child, 0) == 0);
    CHECK(kill(child, SIGKILL) == 0);
    OK(ringlog_close(engine, 10 * SECOND_NS, &error));
    ringlog_engine_free(engine);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

const struct test abuse_tests[] = {
    {"a_child_does_not_keep_the_directory_of_its_dead_parent",
     a_child_does_not_keep_the_directory_of_its_dead_parent, 0},
    {"a_child_is_refused_and_its_parent_goes_on", a_child_is_refused_and_its_parent_goes_on, 0},
    {"sixty_four_threads_on_one_handle", sixty_four_threads_on_one_handle, 0},
    {"many_threads_look_at_one_batch", many_threads_look_at_one_batch, 0},
    {"a_reader_used_by_two_threads_says_so", a_reader_used_by_two_threads_says_so, 0},
    {"opening_and_closing_leaves_nothing_behind", opening_and_closing_leaves_nothing_behind, 0},
    {NULL, NULL, 0},
};
