/* Engines that are opened otherwise: turned by the caller's own thread, and only to read. */
#include <dirent.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static struct log log_open_driven(const char *path) {
    struct log log;
    ringlog_open_options options = small_options();
    options.flags |= RINGLOG_OPEN_CALLER_DRIVEN;
    OK(ringlog_open(path, &options, &log.engine, &error));
    OK(ringlog_topic_open_or_create(log.engine, "t", NULL, &log.topic, &error));
    OK(ringlog_stream_open(log.topic, 0, &log.stream, &error));
    return log;
}

/* The process's threads but the kernel's own, which work for its io_uring and are named so. */
static int threads_now(void) {
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *task;
    int count = 0;
    CHECK(tasks != NULL);
    while ((task = readdir(tasks)) != NULL) {
        char path[300], name[32] = "";
        FILE *comm;
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        comm = task->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (comm == NULL) {
            continue; /* No thread, or one that has just ended. */
        }
        if (fgets(name, sizeof name, comm) != NULL && strncmp(name, "iou-", 4) != 0) {
            count++;
        }
        fclose(comm);
    }
    closedir(tasks);
    return count;
}

static void watch(int epoll, int fd) {
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = EPOLLIN;
    event.data.fd = fd;
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
}

/* An event loop of one thread: the engine's descriptor and the queue's, nothing else. */
static void one_thread_appends_durably(const char *path) {
    struct log log = log_open_driven(path);
    ringlog_cq *queue = NULL;
    ringlog_record record = record_of("v");
    ringlog_completion done[8];
    ringlog_stream_info info;
    int engine_fd = -1, queue_fd = -1, epoll = epoll_create1(EPOLL_CLOEXEC), at;
    uint64_t tag, seen = 0;
    CHECK(epoll >= 0 && ringlog_shards(log.engine) == 1);
    OK(ringlog_cq_new(log.engine, 64, &queue, &error));
    OK(ringlog_poll_fd(log.engine, 0, &engine_fd, &error));
    OK(ringlog_cq_fd(queue, &queue_fd, &error));
    watch(epoll, engine_fd);
    watch(epoll, queue_fd);
    for (tag = 0; tag < 20; tag++) {
        OK(ringlog_submit_append(log.stream, queue, &record, 1, sizeof record,
                                 RINGLOG_APPEND_DURABLE, tag, &error));
    }
    while (seen < 20) {
        struct epoll_event events[2];
        int ready = epoll_wait(epoll, events, 2, 30000);
        CHECK(ready > 0);
        for (at = 0; at < ready; at++) {
            size_t count = 0, each;
            if (events[at].data.fd == engine_fd) {
                OK(ringlog_run_once(log.engine, 0, 0, &error));
                continue;
            }
            OK(ringlog_cq_poll(queue, done, 8, sizeof *done, 0, &count, &error));
            for (each = 0; each < count; each++) {
                CHECK(done[each].status == RINGLOG_OK && done[each].tag == seen);
                CHECK(done[each].first_offset == seen);
                seen++;
            }
        }
    }
    OK(ringlog_stream_describe(log.stream, &info, sizeof info, &error));
    CHECK(info.durable_end == 20);
    CHECK(append(log.stream, "blocking calls turn it, too") == 20);
    CHECK(threads_now() == 1);
    ringlog_cq_free(queue);
    log_free(&log);
    CHECK(threads_now() == 1);
    close(epoll);
}

static void *turn_elsewhere(void *engine) {
    FAILS(RINGLOG_E_WRONG_THREAD, ringlog_run_once(engine, 0, 0, &error));
    return NULL;
}

static void a_shard_belongs_to_one_thread(const char *path) {
    struct log log = log_open_driven(path);
    pthread_t thread;
    int fd = -1;
    OK(ringlog_run_once(log.engine, 0, 0, &error));
    OK(ringlog_run_once(log.engine, 0, 1000000, &error));
    CHECK(pthread_create(&thread, NULL, turn_elsewhere, log.engine) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_run_once(log.engine, 1, 0, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_run_once(log.engine, 0, -7, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_run_once(NULL, 0, 0, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_poll_fd(log.engine, 1, &fd, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_poll_fd(log.engine, 0, NULL, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_poll_fd(NULL, 0, &fd, &error));
    CHECK(fd == -1 && ringlog_shards(NULL) == 0);
    OK(ringlog_close(log.engine, 10 * SECOND_NS, &error));
    FAILS(RINGLOG_E_CLOSED, ringlog_run_once(log.engine, 0, 0, &error));
    log_free(&log);
}

static void an_engine_with_threads_is_not_turned(const char *path) {
    struct log log;
    ringlog_open_options options = small_options();
    int fd = -1;
    options.flags |= 1u << 31;
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_open(path, &options, &log.engine, &error));
    log = log_open(path);
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_run_once(log.engine, 0, 0, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_poll_fd(log.engine, 0, &fd, &error));
    CHECK(fd == -1 && ringlog_shards(log.engine) == 1);
    log_free(&log);
}

static struct log log_open_to_read(const char *path) {
    struct log log;
    ringlog_open_options options = small_options();
    options.flags |= RINGLOG_OPEN_READ_ONLY;
    OK(ringlog_open(path, &options, &log.engine, &error));
    OK(ringlog_topic_open(log.engine, "t", &log.topic, &error));
    OK(ringlog_stream_open(log.topic, 0, &log.stream, &error));
    return log;
}

/* The next record, which must come, is this. */
static void next_is(ringlog_reader *reader, const char *text) {
    ringlog_batch *batch = NULL;
    ringlog_view view;
    size_t count = 0;
    OK(ringlog_reader_next(reader, 0, 30 * SECOND_NS, &batch, &error));
    CHECK(batch != NULL && ringlog_batch_len(batch) == 1);
    OK(ringlog_batch_views(batch, 0, &view, 1, sizeof view, &count, &error));
    CHECK(count == 1 && bytes_are(view.value, text));
    ringlog_batch_free(batch);
}

static void appends_are_refused(struct log *log) {
    ringlog_record record = record_of("v");
    ringlog_topic *topic = NULL;
    ringlog_cq *queue = NULL;
    ringlog_completion done;
    size_t count = 0;
    ringlog_status status;
    uint64_t offset = 7;
    FAILS(RINGLOG_E_READ_ONLY, ringlog_append(log->stream, &record, 1, sizeof record, 0,
                                              RINGLOG_FOREVER, &offset, &error));
    CHECK(offset == 7);
    FAILS(RINGLOG_E_READ_ONLY, ringlog_topic_create(log->engine, "x", NULL, &topic, &error));
    FAILS(RINGLOG_E_READ_ONLY, ringlog_topic_delete(log->engine, "t", &error));
    CHECK(topic == NULL);
    /* Refused at once, or by its completion. */
    OK(ringlog_cq_new(log->engine, 8, &queue, &error));
    status = ringlog_submit_append(log->stream, queue, &record, 1, sizeof record, 0, 1, NULL);
    if (status == RINGLOG_OK) {
        OK(ringlog_cq_poll(queue, &done, 1, sizeof done, 30 * SECOND_NS, &count, &error));
        CHECK(count == 1);
        status = done.status;
        ringlog_error_free(done.error);
    }
    CHECK(status == RINGLOG_E_READ_ONLY);
    ringlog_cq_free(queue);
}

/* The other process: it reads what was there, says so, and reads what comes. */
static void read_beside(const char *path, int told) {
    struct log log = log_open_to_read(path);
    ringlog_reader *reader = reader_from(log.stream, RINGLOG_START_EARLIEST, 0);
    next_is(reader, "before");
    CHECK(write(told, "r", 1) == 1);
    next_is(reader, "meanwhile");
    appends_are_refused(&log);
    ringlog_reader_free(reader);
    log_free(&log);
}

static void another_process_reads_beside_the_writer(const char *path) {
    const char *told = getenv("RINGLOG_TEST_TELL");
    struct log log;
    ringlog_engine *second = NULL;
    ringlog_open_options options = small_options();
    int ends[2], status = -1;
    char byte = 0;
    pid_t child;
    if (told != NULL) {
        read_beside(path, atoi(told));
        return;
    }
    log = log_open(path);
    append(log.stream, "before");
    CHECK(pipe(ends) == 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char number[16];
        snprintf(number, sizeof number, "%d", ends[1]);
        close(ends[0]);
        setenv("RINGLOG_TEST_TELL", number, 1);
        execl("/proc/self/exe", "reader", __func__, path, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    CHECK(read(ends[0], &byte, 1) == 1 && byte == 'r');
    close(ends[0]);
    CHECK(append(log.stream, "meanwhile") == 1);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    /* The reader neither took the directory from its writer nor wrote. */
    FAILS(RINGLOG_E_LOCKED, ringlog_open(path, &options, &second, &error));
    CHECK(append(log.stream, "after") == 2);
    log_free(&log);
}

static void a_reader_needs_no_writer(const char *path) {
    struct log log = log_open(path);
    ringlog_reader *reader;
    append(log.stream, "kept");
    log_free(&log);
    log = log_open_to_read(path);
    reader = reader_from(log.stream, RINGLOG_START_EARLIEST, 0);
    next_is(reader, "kept");
    appends_are_refused(&log);
    ringlog_reader_free(reader);
    log_free(&log);
}

const struct test modes_tests[] = {
    {"one_thread_appends_durably", one_thread_appends_durably, 1},
    {"a_shard_belongs_to_one_thread", a_shard_belongs_to_one_thread, 1},
    {"an_engine_with_threads_is_not_turned", an_engine_with_threads_is_not_turned, 1},
    {"another_process_reads_beside_the_writer", another_process_reads_beside_the_writer, 0},
    /* Valgrind knows no futex_waitv, and hides the vDSO that rustix then takes the time from. */
    {"a_reader_needs_no_writer", a_reader_needs_no_writer, 0},
    {NULL, NULL, 0},
};
