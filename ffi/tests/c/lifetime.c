/* Who owns what, and for how long: close, free, references, and structs of another age. */
#include <pthread.h>
#include <unistd.h>

#include "check.h"

static void views_outlive_reader_topic_and_engine(const char *path) {
    struct log log = log_open(path);
    ringlog_reader *reader = reader_from(log.stream, RINGLOG_START_EARLIEST, 0);
    ringlog_batch *batch = NULL, *again;
    ringlog_view view;
    size_t count = 0;
    append(log.stream, "kept");
    OK(ringlog_reader_next(reader, 0, 0, &batch, &error));
    OK(ringlog_batch_views(batch, 0, &view, 1, sizeof view, &count, &error));
    ringlog_reader_free(reader);
    log_free(&log);
    CHECK(bytes_are(view.value, "kept"));
    again = ringlog_batch_ref(batch);
    CHECK(again == batch);
    ringlog_batch_free(batch);
    CHECK(bytes_are(view.value, "kept"));
    OK(ringlog_batch_views(again, 0, &view, 1, sizeof view, &count, &error));
    CHECK(count == 1 && bytes_are(view.value, "kept"));
    ringlog_batch_free(again);
}

static void after_close_every_call_says_so(const char *path) {
    struct log log = log_open(path);
    ringlog_reader *reader = reader_from(log.stream, RINGLOG_START_LATEST, 0);
    ringlog_record record = record_of("v");
    ringlog_batch *batch = NULL;
    OK(ringlog_close(log.engine, 10 * SECOND_NS, &error));
    OK(ringlog_close(log.engine, 10 * SECOND_NS, &error));
    FAILS(RINGLOG_E_CLOSED,
          ringlog_append(log.stream, &record, 1, sizeof record, 0, 0, NULL, &error));
    FAILS(RINGLOG_E_CLOSED, ringlog_topic_create(log.engine, "x", NULL, NULL, &error));
    FAILS(RINGLOG_E_CLOSED, ringlog_topic_delete(log.engine, "t", &error));
    FAILS(RINGLOG_E_CLOSED, ringlog_reader_next(reader, 0, RINGLOG_FOREVER, &batch, &error));
    CHECK(batch == NULL);
    ringlog_reader_free(reader);
    log_free(&log); /* Closes a third time. */
}

static void *wait_for_more(void *reader) {
    ringlog_batch *batch = NULL;
    FAILS(RINGLOG_E_CLOSED, ringlog_reader_next(reader, 0, RINGLOG_FOREVER, &batch, &error));
    return NULL;
}

static void close_ends_the_sleep_of_a_reader(const char *path) {
    struct log log = log_open(path);
    ringlog_reader *reader = reader_from(log.stream, RINGLOG_START_LATEST, 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, wait_for_more, reader) == 0);
    usleep(10000);
    OK(ringlog_close(log.engine, 10 * SECOND_NS, &error));
    CHECK(pthread_join(thread, NULL) == 0);
    ringlog_reader_free(reader);
    log_free(&log);
}

static void the_last_handle_that_goes_closes(const char *path) {
    struct log log = log_open(path);
    ringlog_engine *second = NULL;
    ringlog_open_options options = small_options();
    append(log.stream, "v");
    ringlog_engine_free(log.engine);
    ringlog_topic_free(log.topic);
    CHECK(append(log.stream, "w") == 1); /* The stream holds it open. */
    FAILS(RINGLOG_E_LOCKED, ringlog_open(path, &options, &second, &error));
    ringlog_stream_free(log.stream);
    OK(ringlog_open(path, &options, &second, &error));
    ringlog_engine_free(second);
}

static void what_was_appended_is_there_after_reopening(const char *path) {
    struct log log = log_open(path);
    ringlog_reader *reader;
    ringlog_batch *batch = NULL;
    append(log.stream, "a");
    log_free(&log);
    log = log_open(path);
    CHECK(append(log.stream, "b") == 1);
    reader = reader_from(log.stream, RINGLOG_START_EARLIEST, 0);
    OK(ringlog_reader_next(reader, 1 << 20, 0, &batch, &error));
    CHECK(ringlog_batch_len(batch) == 2);
    ringlog_batch_free(batch);
    ringlog_reader_free(reader);
    log_free(&log);
}

/* Structs of an older and of a newer header. */
static void headers_of_another_age_fit(const char *path) {
    struct {
        ringlog_open_options ours;
        uint64_t later[4];
    } newer;
    struct {
        size_t size;
        uint32_t partitions, flush, compression, timestamps;
        uint64_t later;
    } topic_options;
    struct {
        ringlog_record ours;
        uint64_t later;
    } records[3];
    struct {
        ringlog_view ours;
        uint64_t later;
    } views[3];
    ringlog_engine *engine = NULL;
    ringlog_topic *topic = NULL;
    ringlog_stream *stream = NULL;
    ringlog_reader *reader;
    ringlog_batch *batch = NULL;
    uint64_t first = 7;
    size_t count = 0, at;
    memset(&newer, 0, sizeof newer);
    memset(&topic_options, 0, sizeof topic_options);
    memset(records, 0, sizeof records);
    memset(views, 0xee, sizeof views);
    newer.ours = small_options();
    newer.ours.size = sizeof newer;
    newer.later[2] = 1;
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_open(path, &newer.ours, &engine, &error));
    newer.later[2] = 0;
    OK(ringlog_open(path, &newer.ours, &engine, &error));
    topic_options.size = sizeof topic_options;
    topic_options.later = 1;
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_topic_create(engine, "t", (ringlog_topic_options *)(void *)&topic_options,
                               &topic, &error));
    topic_options.later = 0;
    OK(ringlog_topic_create(engine, "t", (ringlog_topic_options *)(void *)&topic_options, &topic,
                            &error));
    OK(ringlog_stream_open(topic, 0, &stream, &error));
    for (at = 0; at < 3; at++) {
        records[at].ours = record_of("abc" + at);
    }
    records[1].later = 1;
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_append(stream, &records->ours, 3, sizeof *records, 0,
                                                     RINGLOG_FOREVER, &first, &error));
    CHECK(first == 7);
    records[1].later = 0;
    OK(ringlog_append(stream, &records->ours, 3, sizeof *records, 0, RINGLOG_FOREVER, &first,
                      &error));
    reader = reader_from(stream, RINGLOG_START_EARLIEST, 0);
    OK(ringlog_reader_next(reader, 0, 0, &batch, &error));
    OK(ringlog_batch_views(batch, 0, &views->ours, 3, sizeof *views, &count, &error));
    CHECK(count == 3);
    for (at = 0; at < 3; at++) {
        CHECK(views[at].ours.offset == at && bytes_are(views[at].ours.value, "abc" + at));
        CHECK(views[at].later == 0); /* What this library does not know is zero. */
    }
    ringlog_batch_free(batch);
    ringlog_reader_free(reader);
    ringlog_stream_free(stream);
    ringlog_topic_free(topic);
    ringlog_engine_free(engine);
}

/* The structs of the first header, before fields were put behind them. */
struct first_open_options {
    size_t size;
    uint32_t flags, backend;
    uint64_t segment_bytes, ring_bytes, group_bytes, max_payload_bytes, async_window_bytes;
    int64_t async_window_ns, append_timeout_ns, lock_timeout_ns, close_timeout_ns;
};

struct first_topic_options {
    size_t size;
    uint32_t partitions, flush;
};

struct first_topic_info {
    const char *name;
    uint8_t uuid[16];
    uint32_t partitions, flush;
};

struct first_stream_info {
    uint64_t log_start, end, durable_end;
    uint32_t partition, log;
};

/* A program that was compiled with the first header: behind its structs lies what must neither be
 * read as theirs nor written. */
static void programs_of_the_first_header_go_on_working(const char *path) {
    ringlog_open_options ours = small_options();
    struct {
        struct first_open_options options;
        char not_theirs[sizeof(ringlog_open_options) - sizeof(struct first_open_options)];
    } open;
    struct {
        struct first_topic_options options;
        char not_theirs[sizeof(ringlog_topic_options) - sizeof(struct first_topic_options)];
    } create;
    struct {
        struct first_topic_info info;
        char not_theirs[sizeof(ringlog_topic_info) - sizeof(struct first_topic_info)];
    } topics;
    struct {
        struct first_stream_info info;
        char not_theirs[sizeof(ringlog_stream_info) - sizeof(struct first_stream_info)];
    } streams;
    ringlog_engine *engine = NULL;
    ringlog_topic *topic = NULL;
    ringlog_stream *stream = NULL;
    ringlog_topic_info now;
    size_t at;
    CHECK(sizeof open.options == 88 && sizeof create.options == 16);
    CHECK(sizeof topics.info == 32 && sizeof streams.info == 32);
    memset(&open, 0xff, sizeof open);
    memset(&create, 0xff, sizeof create);
    memset(&topics, 0xff, sizeof topics);
    memset(&streams, 0xff, sizeof streams);
    memcpy(&open.options, &ours, sizeof open.options);
    open.options.size = sizeof open.options;
    create.options.size = sizeof create.options;
    create.options.partitions = 2;
    create.options.flush = RINGLOG_FLUSH_ASYNC;
    OK(ringlog_open(path, (void *)&open.options, &engine, &error));
    CHECK(ringlog_shards(engine) == 1);
    OK(ringlog_topic_create(engine, "t", (void *)&create.options, &topic, &error));
    OK(ringlog_topic_describe(topic, (void *)&topics.info, sizeof topics.info, &error));
    CHECK(topics.info.partitions == 2 && topics.info.flush == RINGLOG_FLUSH_ASYNC);
    OK(ringlog_topic_describe(topic, &now, sizeof now, &error));
    CHECK(now.compression == RINGLOG_COMPRESSION_NONE && now.timestamps == RINGLOG_TIME_CREATE);
    OK(ringlog_stream_open(topic, 1, &stream, &error));
    append(stream, "v");
    OK(ringlog_stream_describe(stream, (void *)&streams.info, sizeof streams.info, &error));
    CHECK(streams.info.end == 1 && streams.info.partition == 1);
    for (at = 0; at < sizeof topics.not_theirs; at++) {
        CHECK(topics.not_theirs[at] == (char)0xff);
    }
    for (at = 0; at < sizeof streams.not_theirs; at++) {
        CHECK(streams.not_theirs[at] == (char)0xff);
    }
    ringlog_stream_free(stream);
    ringlog_topic_free(topic);
    ringlog_engine_free(engine);
}

static void sizes_that_cannot_be_are_refused(const char *path) {
    ringlog_open_options options = small_options();
    ringlog_engine *engine = NULL;
    struct log log;
    ringlog_topic_info info;
    static const size_t sizes[] = {0, 1, 7, 24, 86, 89, 1 << 20, SIZE_MAX, SIZE_MAX - 7};
    size_t at;
    for (at = 0; at < sizeof sizes / sizeof *sizes; at++) {
        options.size = sizes[at];
        FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_open(path, &options, &engine, &error));
    }
    log = log_open(path);
    for (at = 0; at < sizeof sizes / sizeof *sizes; at++) {
        FAILS(RINGLOG_E_INVALID_ARGUMENT,
              ringlog_topic_describe(log.topic, &info, sizes[at], &error));
    }
    log_free(&log);
}

const struct test lifetime_tests[] = {
    {"views_outlive_reader_topic_and_engine", views_outlive_reader_topic_and_engine, 1},
    {"after_close_every_call_says_so", after_close_every_call_says_so, 1},
    {"close_ends_the_sleep_of_a_reader", close_ends_the_sleep_of_a_reader, 0},
    {"the_last_handle_that_goes_closes", the_last_handle_that_goes_closes, 0},
    {"what_was_appended_is_there_after_reopening", what_was_appended_is_there_after_reopening, 1},
    {"headers_of_another_age_fit", headers_of_another_age_fit, 1},
    {"programs_of_the_first_header_go_on_working", programs_of_the_first_header_go_on_working, 1},
    {"sizes_that_cannot_be_are_refused", sizes_that_cannot_be_are_refused, 0},
    {NULL, NULL, 0},
};
