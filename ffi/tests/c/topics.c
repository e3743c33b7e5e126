/* Topics: made, opened, listed, described, deleted. */
#include <unistd.h>

#include "check.h"

static void a_topic_is_made_found_and_described(const char *path) {
    struct log log = log_open(path);
    ringlog_topic_options options;
    ringlog_topic_info info;
    ringlog_topic *topic = NULL, *again = NULL;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.partitions = 3;
    options.flush = RINGLOG_FLUSH_ASYNC;
    options.compression = RINGLOG_COMPRESSION_LZ4;
    options.timestamps = RINGLOG_TIME_APPEND;
    OK(ringlog_topic_create(log.engine, "orders", &options, &topic, &error));
    OK(ringlog_topic_describe(topic, &info, sizeof info, &error));
    CHECK(strcmp(info.name, "orders") == 0 && info.partitions == 3);
    CHECK(info.flush == RINGLOG_FLUSH_ASYNC && info.compression == RINGLOG_COMPRESSION_LZ4);
    CHECK(info.timestamps == RINGLOG_TIME_APPEND);
    FAILS(RINGLOG_E_TOPIC_EXISTS, ringlog_topic_create(log.engine, "orders", NULL, NULL, &error));
    /* One that is there stays as it is. */
    OK(ringlog_topic_open_or_create(log.engine, "orders", NULL, &again, &error));
    OK(ringlog_topic_describe(again, &info, sizeof info, &error));
    CHECK(info.partitions == 3);
    ringlog_topic_free(again);
    ringlog_topic_free(topic);
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_topic_create(log.engine, "a b", NULL, NULL, &error));
    options.compression = 9;
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_topic_create(log.engine, "other", &options, NULL, &error));
    options.compression = 0;
    options.flush = 9;
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_topic_create(log.engine, "other", &options, NULL, &error));
    log_free(&log);
}

static void topics_are_listed_by_name(const char *path) {
    struct log log = log_open(path);
    ringlog_topic_list *list = NULL;
    ringlog_topic_info info;
    OK(ringlog_topic_create(log.engine, "b", NULL, NULL, &error));
    OK(ringlog_topic_create(log.engine, "a", NULL, NULL, &error));
    OK(ringlog_topic_list_new(log.engine, &list, &error));
    CHECK(ringlog_topic_list_len(list) == 3);
    OK(ringlog_topic_list_get(list, 0, &info, sizeof info, &error));
    CHECK(strcmp(info.name, "a") == 0 && info.partitions == 1);
    OK(ringlog_topic_list_get(list, 2, &info, sizeof info, &error));
    CHECK(strcmp(info.name, "t") == 0 && info.flush == RINGLOG_FLUSH_SYNC);
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_topic_list_get(list, 3, &info, sizeof info, &error));
    ringlog_topic_list_free(list);
    log_free(&log);
}

static void a_deleted_topic_is_unknown_to_its_handles(const char *path) {
    struct log log = log_open(path);
    ringlog_record record = record_of("v");
    ringlog_stream_info info;
    append(log.stream, "v");
    OK(ringlog_topic_delete(log.engine, "t", &error));
    FAILS(RINGLOG_E_UNKNOWN_TOPIC, ringlog_topic_delete(log.engine, "t", &error));
    FAILS(RINGLOG_E_UNKNOWN_TOPIC,
          ringlog_append(log.stream, &record, 1, sizeof record, 0, 0, NULL, &error));
    FAILS(RINGLOG_E_UNKNOWN_TOPIC,
          ringlog_stream_describe(log.stream, &info, sizeof info, &error));
    log_free(&log);
}

static void a_partition_beyond_the_last_is_unknown(const char *path) {
    struct log log = log_open(path);
    ringlog_stream *stream = NULL;
    FAILS(RINGLOG_E_UNKNOWN_PARTITION, ringlog_stream_open(log.topic, 1, &stream, &error));
    FAILS(RINGLOG_E_UNKNOWN_PARTITION, ringlog_stream_open(log.topic, UINT32_MAX, &stream, &error));
    CHECK(stream == NULL);
    log_free(&log);
}

static void the_engine_tells_of_itself(const char *path) {
    struct log log = log_open(path);
    ringlog_text *stats = NULL, *capabilities = NULL;
    OK(ringlog_stats_json(log.engine, &stats, &error));
    CHECK(strstr(ringlog_text_ptr(stats), "\"topics\":[{\"name\":\"t\"") != NULL);
    CHECK(strlen(ringlog_text_ptr(stats)) == ringlog_text_len(stats));
    OK(ringlog_capabilities_json(log.engine, &capabilities, &error));
    CHECK(strstr(ringlog_text_ptr(capabilities), "\"driver\":") != NULL);
    ringlog_text_free(stats);
    ringlog_text_free(capabilities);
    log_free(&log);
}

static void a_key_goes_to_its_partition(const char *path) {
    struct log log = log_open(path);
    ringlog_topic_options options;
    ringlog_topic *topic = NULL;
    ringlog_record records[6];
    ringlog_record_id ids[6], one;
    ringlog_bytes absent = {NULL, 0};
    uint32_t partition = 99, turns = 0;
    int at;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.partitions = 4;
    OK(ringlog_topic_create(log.engine, "keyed", &options, &topic, &error));
    for (at = 0; at < 6; at++) {
        records[at] = record_of("v");
        records[at].key = bytes_of(at % 2 == 0 ? "21" : "foobar");
    }
    OK(ringlog_topic_append(topic, records, 6, sizeof *records, 0, RINGLOG_FOREVER, ids,
                            sizeof *ids, &error));
    for (at = 0; at < 6; at++) {
        OK(ringlog_topic_partition_for(topic, records[at].key, &partition, &error));
        CHECK(ids[at].partition == partition);
        CHECK(at < 2 || ids[at].offset > ids[at - 2].offset);
    }
    /* murmur2("21") is -973932308, with its sign bit cleared 1173551340: partition 0 of 4. */
    CHECK(ids[0].partition == 0);
    for (at = 0; at < 4; at++) {
        OK(ringlog_topic_partition_for(topic, absent, &partition, &error));
        turns |= 1u << partition;
    }
    CHECK(turns == 15);
    OK(ringlog_topic_append(topic, records, 1, sizeof *records, 0, RINGLOG_FOREVER, &one,
                            sizeof one, &error));
    CHECK(one.partition == ids[0].partition && one.offset == ids[4].offset + 1);
    OK(ringlog_topic_append(topic, records, 1, sizeof *records, 0, RINGLOG_FOREVER, NULL,
                            sizeof one, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_topic_append(NULL, records, 1, sizeof *records, 0, 0,
                                                           NULL, sizeof one, &error));
    ringlog_topic_free(topic);
    log_free(&log);
}

static void partitions_lie_on_several_shards(const char *path) {
    ringlog_open_options options = small_options();
    ringlog_topic_options topic_options;
    ringlog_engine *engine = NULL;
    ringlog_topic *topic = NULL;
    uint32_t shards = 0, at;
    memset(&topic_options, 0, sizeof topic_options);
    topic_options.size = sizeof topic_options;
    topic_options.partitions = 4;
    options.shards = 2;
    OK(ringlog_open(path, &options, &engine, &error));
    OK(ringlog_topic_create(engine, "t", &topic_options, &topic, &error));
    for (at = 0; at < 4; at++) {
        ringlog_stream *stream = NULL;
        ringlog_stream_info info;
        OK(ringlog_stream_open(topic, at, &stream, &error));
        append(stream, "v");
        OK(ringlog_stream_describe(stream, &info, sizeof info, &error));
        CHECK(info.partition == at && info.shard < 2 && info.log > 0);
        shards |= 1u << info.shard;
        ringlog_stream_free(stream);
    }
    CHECK(shards == 3);
    ringlog_topic_free(topic);
    ringlog_engine_free(engine);
}

struct heard {
    int opened, others;
};

static void hear(void *context, uint32_t level, const char *name, const char *message) {
    struct heard *heard = context;
    CHECK(level <= RINGLOG_LOG_ERROR && strlen(message) > 0);
    if (strcmp(name, "opened") == 0) {
        CHECK(level == RINGLOG_LOG_INFO && strstr(message, "path=") != NULL);
        __atomic_add_fetch(&heard->opened, 1, __ATOMIC_SEQ_CST);
    } else {
        __atomic_add_fetch(&heard->others, 1, __ATOMIC_SEQ_CST);
    }
}

static void the_log_hook_hears_what_happens(const char *path) {
    ringlog_open_options options = small_options();
    ringlog_engine *engine = NULL;
    struct heard heard = {0, 0};
    options.log = hear;
    options.log_context = &heard;
    OK(ringlog_open(path, &options, &engine, &error));
    OK(ringlog_topic_create(engine, "t", NULL, NULL, &error));
    ringlog_engine_free(engine);
    CHECK(heard.opened == 1 && heard.others > 0);
}

static void hear_damage(void *heard, uint32_t level, const char *name, const char *message) {
    if (strcmp(name, "damaged") == 0) {
        CHECK(level == RINGLOG_LOG_ERROR && strstr(message, "0000000000000000.log") != NULL);
        __atomic_add_fetch((int *)heard, 1, __ATOMIC_SEQ_CST);
    }
}

/* Flips bits of a byte of the first segment. */
static void rot(const char *path, long at) {
    char name[4096];
    FILE *file;
    int byte;
    snprintf(name, sizeof name, "%s/log-001/0000000000000000.log", path);
    file = fopen(name, "r+b");
    CHECK(file != NULL && fseek(file, at, SEEK_SET) == 0);
    byte = fgetc(file);
    CHECK(byte != EOF && fseek(file, at, SEEK_SET) == 0 && fputc(byte ^ 4, file) != EOF);
    CHECK(fclose(file) == 0);
}

static void the_scrub_tells_of_rot(const char *path) {
    ringlog_open_options options = small_options();
    ringlog_engine *engine = NULL;
    ringlog_topic *topic = NULL;
    ringlog_stream *stream = NULL;
    char value[20001];
    int heard = 0;
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = 0;
    options.segment_bytes = 64 << 10;
    options.ring_bytes = 64 << 10;
    OK(ringlog_open(path, &options, &engine, &error));
    OK(ringlog_topic_create(engine, "t", NULL, &topic, &error));
    OK(ringlog_stream_open(topic, 0, &stream, &error));
    for (int i = 0; i < 6; i++) append(stream, value);
    ringlog_stream_free(stream);
    ringlog_topic_free(topic);
    ringlog_engine_free(engine);
    rot(path, 8192);
    options.scrub_bytes_per_second = 64 << 20;
    options.scrub_every_ns = 3600 * SECOND_NS;
    options.log = hear_damage;
    options.log_context = &heard;
    OK(ringlog_open(path, &options, &engine, &error));
    for (int i = 0; i < 6000 && __atomic_load_n(&heard, __ATOMIC_SEQ_CST) == 0; i++) usleep(10000);
    ringlog_engine_free(engine);
    CHECK(heard == 1);
}

static void counters_are_told_to_prometheus(const char *path) {
    struct log log = log_open(path);
    ringlog_text *text = NULL;
    append(log.stream, "v");
    OK(ringlog_metrics_prometheus(log.engine, &text, &error));
    CHECK(strstr(ringlog_text_ptr(text), "ringlog_appends_total{") != NULL);
    ringlog_text_free(text);
    log_free(&log);
}

const struct test topics_tests[] = {
    {"a_key_goes_to_its_partition", a_key_goes_to_its_partition, 1},
    {"partitions_lie_on_several_shards", partitions_lie_on_several_shards, 0},
    {"the_log_hook_hears_what_happens", the_log_hook_hears_what_happens, 1},
    {"the_scrub_tells_of_rot", the_scrub_tells_of_rot, 0},
    {"counters_are_told_to_prometheus", counters_are_told_to_prometheus, 0},
    {"a_topic_is_made_found_and_described", a_topic_is_made_found_and_described, 1},
    {"topics_are_listed_by_name", topics_are_listed_by_name, 0},
    {"a_deleted_topic_is_unknown_to_its_handles", a_deleted_topic_is_unknown_to_its_handles, 0},
    {"a_partition_beyond_the_last_is_unknown", a_partition_beyond_the_last_is_unknown, 0},
    {"the_engine_tells_of_itself", the_engine_tells_of_itself, 1},
    {NULL, NULL, 0},
};
