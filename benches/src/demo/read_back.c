/*
 * Writes the values of a topic's first partition, each with a newline, to standard output.
 * Usage: read_back DIRECTORY TOPIC
 */
#include <ringlog.h>
#include <stdio.h>
#include <string.h>

#define MAX_BYTES (1 << 20)
#define VIEWS 256

static int failed(const char *what, ringlog_error *error) {
    fprintf(stderr, "%s: %s\n", what, error ? ringlog_error_message(error) : "short write");
    ringlog_error_free(error);
    return 1;
}

static int write_values(const ringlog_batch *batch, ringlog_error **error) {
    ringlog_view views[VIEWS];
    size_t at = 0;
    size_t count;

    for (;;) {
        if (ringlog_batch_views(batch, at, views, VIEWS, sizeof views[0], &count, error)) {
            return 1;
        }
        if (count == 0) {
            return 0;
        }
        for (size_t i = 0; i < count; i++) {
            if (fwrite(views[i].value.ptr, 1, views[i].value.len, stdout) != views[i].value.len ||
                putchar('\n') == EOF) {
                return 1;
            }
        }
        at += count;
    }
}

int main(int argc, char **argv) {
    ringlog_open_options options;
    ringlog_error *error = NULL;
    ringlog_engine *engine = NULL;
    ringlog_topic *topic = NULL;
    ringlog_stream *stream = NULL;
    ringlog_reader *reader = NULL;
    ringlog_batch *batch = NULL;

    if (argc != 3) {
        fprintf(stderr, "usage: read_back DIRECTORY TOPIC\n");
        return 2;
    }
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.flags = RINGLOG_OPEN_NO_CREATE;
    if (ringlog_open(argv[1], &options, &engine, &error)) {
        return failed("open", error);
    }
    if (ringlog_topic_open(engine, argv[2], &topic, &error) ||
        ringlog_stream_open(topic, 0, &stream, &error) ||
        ringlog_reader_open(stream, RINGLOG_START_EARLIEST, 0, 0, &reader, &error)) {
        return failed(argv[2], error);
    }
    for (;;) {
        if (ringlog_reader_next(reader, MAX_BYTES, 0, &batch, &error)) {
            return failed("read", error);
        }
        if (!batch) {
            break;
        }
        if (write_values(batch, &error)) {
            return failed("write", error);
        }
        ringlog_batch_free(batch);
    }
    ringlog_reader_free(reader);
    ringlog_stream_free(stream);
    ringlog_topic_free(topic);
    if (ringlog_close(engine, RINGLOG_DEFAULT_TIMEOUT, &error)) {
        return failed("close", error);
    }
    ringlog_engine_free(engine);
    return fflush(stdout) ? failed("write", NULL) : 0;
}
