/* The tests of the C library: `--list` names them, `--quick` those for valgrind; a name and a
 * directory runs one, `--quick-run` and a directory all the quick ones. */
#include "check.h"

static const struct test *const all[] = {
    layout_tests, errors_tests, topics_tests, append_tests,
    read_tests,   queue_tests,  lifetime_tests, abuse_tests,
    modes_tests,  time_tests,   arrow_tests,  all_tests,
};

ringlog_open_options small_options(void) {
    ringlog_open_options options;
    const char *backend = getenv("RINGLOG_TEST_BACKEND");
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.flags = RINGLOG_OPEN_ALLOW_VOLATILE;
    options.segment_bytes = 1 << 20;
    options.ring_bytes = 256 << 10;
    options.lock_timeout_ns = 100 * 1000 * 1000;
    if (backend != NULL && strcmp(backend, "plain") == 0) {
        options.backend = RINGLOG_BACKEND_PLAIN;
    }
    return options;
}

static struct log log_open_as(const char *path, uint32_t flush) {
    struct log log;
    ringlog_open_options options = small_options();
    ringlog_topic_options topic;
    memset(&topic, 0, sizeof topic);
    topic.size = sizeof topic;
    topic.flush = flush;
    OK(ringlog_open(path, &options, &log.engine, &error));
    OK(ringlog_topic_open_or_create(log.engine, "t", &topic, &log.topic, &error));
    OK(ringlog_stream_open(log.topic, 0, &log.stream, &error));
    return log;
}

struct log log_open(const char *path) { return log_open_as(path, RINGLOG_FLUSH_SYNC); }

struct log log_open_async(const char *path) { return log_open_as(path, RINGLOG_FLUSH_ASYNC); }

void log_free(struct log *log) {
    OK(ringlog_close(log->engine, 10 * SECOND_NS, &error));
    ringlog_stream_free(log->stream);
    ringlog_topic_free(log->topic);
    ringlog_engine_free(log->engine);
}

ringlog_bytes bytes_of(const char *text) {
    ringlog_bytes bytes = {text, text == NULL ? 0 : strlen(text)};
    return bytes;
}

ringlog_record record_of(const char *value) {
    ringlog_record record;
    memset(&record, 0, sizeof record);
    record.value = bytes_of(value);
    return record;
}

int bytes_are(ringlog_bytes bytes, const char *text) {
    if (text == NULL || bytes.ptr == NULL) {
        return text == NULL && bytes.ptr == NULL;
    }
    return bytes.len == strlen(text) && memcmp(bytes.ptr, text, bytes.len) == 0;
}

uint64_t append(ringlog_stream *stream, const char *value) {
    ringlog_record record = record_of(value);
    uint64_t offset = UINT64_MAX;
    OK(ringlog_append(stream, &record, 1, sizeof record, 0, RINGLOG_DEFAULT_TIMEOUT, &offset,
                      &error));
    return offset;
}

ringlog_reader *reader_from(ringlog_stream *stream, uint32_t start, int64_t at) {
    ringlog_reader *reader = NULL;
    OK(ringlog_reader_open(stream, start, at, 0, &reader, &error));
    return reader;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "--list";
    const char *path = argc > 2 ? argv[2] : NULL;
    int found = 0;
    size_t file;
    for (file = 0; file < sizeof all / sizeof *all; file++) {
        const struct test *test;
        for (test = all[file]; test->name != NULL; test++) {
            if (strcmp(what, "--list") == 0 || (strcmp(what, "--quick") == 0 && test->quick)) {
                puts(test->name);
                found = 1;
            } else if (path != NULL && strcmp(what, "--quick-run") == 0 && test->quick) {
                char own[4096];
                snprintf(own, sizeof own, "%s/%s", path, test->name);
                test->run(own);
                found = 1;
            } else if (path != NULL && strcmp(what, test->name) == 0) {
                test->run(path);
                found = 1;
            }
        }
    }
    return found ? 0 : 2;
}
