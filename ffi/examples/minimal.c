/* The smallest useful program: open, append, read back. Usage: minimal DIRECTORY */
#include <ringlog.h>
#include <stdio.h>
#include <string.h>

static int failed(const char *what, ringlog_error *error) {
    fprintf(stderr, "%s: %s\n", what, ringlog_error_message(error));
    ringlog_error_free(error);
    return 1;
}

int main(int argc, char **argv) {
    ringlog_error *error = NULL;
    ringlog_engine *engine = NULL;
    ringlog_topic *topic = NULL;
    ringlog_stream *orders = NULL;
    ringlog_reader *reader = NULL;
    ringlog_batch *batch = NULL;
    ringlog_record record;
    ringlog_view view;
    uint64_t offset;
    size_t count;

    /* Every call tells by its status; nothing is to be freed if `ringlog_open` fails. */
    if (ringlog_open(argc > 1 ? argv[1] : "data", NULL, &engine, &error)) {
        return failed("open", error);
    }
    if (ringlog_topic_open_or_create(engine, "orders", NULL, &topic, &error) ||
        ringlog_stream_open(topic, 0, &orders, &error)) {
        return failed("topic", error);
    }

    memset(&record, 0, sizeof record);
    record.key.ptr = "table 7";
    record.key.len = 7;
    record.value.ptr = "one flat white";
    record.value.len = 14;
    if (ringlog_append(orders, &record, 1, sizeof record, 0, RINGLOG_DEFAULT_TIMEOUT, &offset,
                       &error)) {
        return failed("append", error);
    }
    printf("durable at offset %llu\n", (unsigned long long)offset);

    if (ringlog_reader_open(orders, RINGLOG_START_OFFSET, (int64_t)offset, 0, &reader, &error) ||
        ringlog_reader_next(reader, 0, 0, &batch, &error) ||
        ringlog_batch_views(batch, 0, &view, 1, sizeof view, &count, &error)) {
        return failed("read", error);
    }
    printf("%.*s: %.*s\n", (int)view.key.len, (const char *)view.key.ptr, (int)view.value.len,
           (const char *)view.value.ptr);

    ringlog_batch_free(batch);
    ringlog_reader_free(reader);
    ringlog_stream_free(orders);
    ringlog_topic_free(topic);
    if (ringlog_close(engine, RINGLOG_DEFAULT_TIMEOUT, &error)) {
        return failed("close", error);
    }
    ringlog_engine_free(engine);
    return 0;
}
