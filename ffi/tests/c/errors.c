/* Errors: objects, codes, flags; NULL and nonsense instead of arguments. */
#include <errno.h>
#include <unistd.h>

#include "check.h"

static void an_error_says_what_and_what_to_do(const char *path) {
    struct log log = log_open(path);
    ringlog_topic *topic = (ringlog_topic *)&log;
    ringlog_error *error = NULL;
    CHECK(ringlog_topic_open(log.engine, "nope", &topic, &error) == RINGLOG_E_UNKNOWN_TOPIC);
    CHECK(topic == (ringlog_topic *)&log); /* Outputs are written on success only. */
    CHECK(ringlog_error_code(error) == RINGLOG_E_UNKNOWN_TOPIC);
    CHECK(strstr(ringlog_error_message(error), "nope") != NULL);
    CHECK(ringlog_error_flags(error) == 0 && ringlog_error_errno(error) == 0);
    ringlog_error_free(error);
    /* Without a place for it there is no error object, only the status. */
    CHECK(ringlog_topic_open(log.engine, "nope", &topic, NULL) == RINGLOG_E_UNKNOWN_TOPIC);
    log_free(&log);
}

static void flags_tell_retriable_from_fatal(const char *path) {
    struct log log = log_open(path);
    ringlog_open_options options = small_options();
    ringlog_engine *second = NULL;
    ringlog_error *error = NULL;
    ringlog_record record = record_of("v");
    char pid[32];
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    CHECK(ringlog_open(path, &options, &second, &error) == RINGLOG_E_LOCKED);
    CHECK(second == NULL && ringlog_error_flags(error) == RINGLOG_ERROR_RETRIABLE);
    CHECK(strstr(ringlog_error_message(error), pid) != NULL);
    ringlog_error_free(error);
    error = NULL;
    OK(ringlog_close(log.engine, 10 * SECOND_NS, &error));
    CHECK(ringlog_append(log.stream, &record, 1, sizeof record, 0, 0, NULL, &error) ==
          RINGLOG_E_CLOSED);
    CHECK(ringlog_error_flags(error) == RINGLOG_ERROR_FATAL);
    ringlog_error_free(error);
    log_free(&log);
}

static void the_system_s_error_number_comes_along(const char *path) {
    ringlog_engine *engine = NULL;
    ringlog_error *error = NULL;
    char file[4096];
    FILE *made;
    snprintf(file, sizeof file, "%s.file", path);
    made = fopen(file, "w");
    CHECK(made != NULL);
    fclose(made);
    CHECK(ringlog_open(file, NULL, &engine, &error) != RINGLOG_OK && engine == NULL);
    if (ringlog_error_code(error) == RINGLOG_E_IO) {
        CHECK(ringlog_error_errno(error) == ENOTDIR || ringlog_error_errno(error) == EEXIST);
    } else {
        CHECK(ringlog_error_code(error) == RINGLOG_E_NOT_A_DATA_DIRECTORY);
    }
    ringlog_error_free(error);
    remove(file);
}

static void null_is_refused_everywhere(const char *path) {
    struct log log = log_open(path);
    ringlog_record record = record_of("v");
    ringlog_bytes none = {NULL, 0};
    ringlog_view view;
    size_t count = 0, cursor = 0;
    (void)path;
#define NULLS(call) FAILS(RINGLOG_E_INVALID_ARGUMENT, call)
    NULLS(ringlog_open(NULL, NULL, &log.engine, &error));
    NULLS(ringlog_open(path, NULL, NULL, &error));
    NULLS(ringlog_close(NULL, 0, &error));
    NULLS(ringlog_stats_json(NULL, NULL, &error));
    NULLS(ringlog_stats_json(log.engine, NULL, &error));
    NULLS(ringlog_capabilities_json(log.engine, NULL, &error));
    NULLS(ringlog_topic_create(log.engine, NULL, NULL, NULL, &error));
    NULLS(ringlog_topic_create(NULL, "a", NULL, NULL, &error));
    NULLS(ringlog_topic_open(log.engine, "t", NULL, &error));
    NULLS(ringlog_topic_open_or_create(log.engine, "t", NULL, NULL, &error));
    NULLS(ringlog_topic_delete(log.engine, NULL, &error));
    NULLS(ringlog_topic_describe(log.topic, NULL, sizeof(ringlog_topic_info), &error));
    NULLS(ringlog_topic_list_new(log.engine, NULL, &error));
    NULLS(ringlog_topic_list_get(NULL, 0, NULL, 0, &error));
    NULLS(ringlog_stream_open(NULL, 0, &log.stream, &error));
    NULLS(ringlog_stream_open(log.topic, 0, NULL, &error));
    NULLS(ringlog_stream_describe(log.stream, NULL, sizeof(ringlog_stream_info), &error));
    NULLS(ringlog_append(NULL, &record, 1, sizeof record, 0, 0, NULL, &error));
    NULLS(ringlog_append(log.stream, NULL, 1, sizeof record, 0, 0, NULL, &error));
    NULLS(ringlog_append_batch(log.stream, none, 0, 0, NULL, &error));
    NULLS(ringlog_trim(NULL, 0, &error));
    NULLS(ringlog_reader_open(log.stream, 0, 0, 0, NULL, &error));
    NULLS(ringlog_reader_next(NULL, 0, 0, NULL, &error));
    NULLS(ringlog_reader_seek(NULL, 0, 0, &error));
    NULLS(ringlog_reader_position(NULL, NULL, &error));
    NULLS(ringlog_batch_views(NULL, 0, &view, 1, sizeof view, &count, &error));
    NULLS(ringlog_batch_bytes(NULL, 0, NULL, &error));
#undef NULLS
    CHECK(ringlog_error_code(NULL) == RINGLOG_OK && ringlog_error_flags(NULL) == 0);
    CHECK(strcmp(ringlog_error_message(NULL), "") == 0 && ringlog_error_errno(NULL) == 0);
    CHECK(strcmp(ringlog_text_ptr(NULL), "") == 0 && ringlog_text_len(NULL) == 0);
    CHECK(ringlog_batch_len(NULL) == 0 && ringlog_batch_parts(NULL) == 0);
    CHECK(ringlog_batch_ref(NULL) == NULL && ringlog_topic_list_len(NULL) == 0);
    CHECK(ringlog_header_next(none, &cursor, &none, &none) == 0);
    CHECK(ringlog_header_next(none, NULL, NULL, NULL) == 0);
    ringlog_error_free(NULL);
    ringlog_engine_free(NULL);
    ringlog_topic_free(NULL);
    ringlog_topic_list_free(NULL);
    ringlog_stream_free(NULL);
    ringlog_reader_free(NULL);
    ringlog_batch_free(NULL);
    ringlog_text_free(NULL);
    log_free(&log);
}

static void one_handle_is_not_taken_for_another(const char *path) {
    struct log log = log_open(path);
    ringlog_stream *stream = NULL;
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_stream_open((ringlog_topic *)(void *)log.stream, 0, &stream, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_close((ringlog_engine *)(void *)log.topic, 0, &error));
    ringlog_batch_free((ringlog_batch *)(void *)log.stream); /* Recognised, and left alone. */
    CHECK(append(log.stream, "v") == 0);
    log_free(&log);
}

static void options_out_of_range_are_refused_before_anything_is_made(const char *path) {
    ringlog_open_options options = small_options();
    ringlog_engine *engine = NULL;
    options.flags = 1u << 31;
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_open(path, &options, &engine, &error));
    options = small_options();
    options.backend = 77;
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_open(path, &options, &engine, &error));
    options = small_options();
    options.segment_bytes = 12345;
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_open(path, &options, &engine, &error));
    options = small_options();
    options.append_timeout_ns = -77;
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_open(path, &options, &engine, &error));
    options = small_options();
    options.ring_bytes = UINT64_MAX;
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_open(path, &options, &engine, &error));
    CHECK(engine == NULL && access(path, F_OK) != 0);
    options = small_options();
    options.flags |= RINGLOG_OPEN_NO_CREATE;
    CHECK(ringlog_open(path, &options, &engine, NULL) != RINGLOG_OK);
    CHECK(engine == NULL && access(path, F_OK) != 0);
    FAILS(RINGLOG_E_INVALID_ARGUMENT, ringlog_open("\xff\xfe", NULL, &engine, &error));
}

const struct test errors_tests[] = {
    {"an_error_says_what_and_what_to_do", an_error_says_what_and_what_to_do, 1},
    {"flags_tell_retriable_from_fatal", flags_tell_retriable_from_fatal, 0},
    {"the_system_s_error_number_comes_along", the_system_s_error_number_comes_along, 0},
    {"null_is_refused_everywhere", null_is_refused_everywhere, 1},
    {"one_handle_is_not_taken_for_another", one_handle_is_not_taken_for_another, 0},
    {"options_out_of_range_are_refused_before_anything_is_made",
     options_out_of_range_are_refused_before_anything_is_made, 0},
    {NULL, NULL, 0},
};
