/* Topics: made, opened, listed, described, deleted. */
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
    OK(ringlog_topic_create(log.engine, "orders", &options, &topic, &error));
    OK(ringlog_topic_describe(topic, &info, sizeof info, &error));
    CHECK(strcmp(info.name, "orders") == 0 && info.partitions == 3);
    CHECK(info.flush == RINGLOG_FLUSH_ASYNC);
    FAILS(RINGLOG_E_TOPIC_EXISTS, ringlog_topic_create(log.engine, "orders", NULL, NULL, &error));
    /* One that is there stays as it is. */
    OK(ringlog_topic_open_or_create(log.engine, "orders", NULL, &again, &error));
    OK(ringlog_topic_describe(again, &info, sizeof info, &error));
    CHECK(info.partitions == 3);
    ringlog_topic_free(again);
    ringlog_topic_free(topic);
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_topic_create(log.engine, "a b", NULL, NULL, &error));
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

const struct test topics_tests[] = {
    {"a_topic_is_made_found_and_described", a_topic_is_made_found_and_described, 1},
    {"topics_are_listed_by_name", topics_are_listed_by_name, 0},
    {"a_deleted_topic_is_unknown_to_its_handles", a_deleted_topic_is_unknown_to_its_handles, 0},
    {"a_partition_beyond_the_last_is_unknown", a_partition_beyond_the_last_is_unknown, 0},
    {"the_engine_tells_of_itself", the_engine_tells_of_itself, 1},
    {NULL, NULL, 0},
};
