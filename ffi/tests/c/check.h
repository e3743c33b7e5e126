/* What every test of the C library shares: checks that say where they failed, and a log to use. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringlog.h"

#define CHECK(condition)                                                                \
    do {                                                                                \
        if (!(condition)) {                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);             \
            exit(1);                                                                    \
        }                                                                               \
    } while (0)

/* The call succeeds, and leaves the error as it was. */
#define OK(call)                                                                        \
    do {                                                                                \
        ringlog_error *error = NULL;                                                    \
        ringlog_status status_ = (call);                                                \
        if (status_ != RINGLOG_OK || error != NULL) {                                   \
            fprintf(stderr, "%s:%d: %s: %s: %s\n", __FILE__, __LINE__, #call,           \
                    ringlog_status_name(status_), ringlog_error_message(error));        \
            exit(1);                                                                    \
        }                                                                               \
    } while (0)

/* The call fails with this code, and says why. */
#define FAILS(code, call)                                                               \
    do {                                                                                \
        ringlog_error *error = NULL;                                                    \
        ringlog_status status_ = (call);                                                \
        if (status_ != (code) || ringlog_error_code(error) != (code) ||                 \
            strlen(ringlog_error_message(error)) == 0) {                                \
            fprintf(stderr, "%s:%d: %s: expected %s, got %s: %s\n", __FILE__, __LINE__, \
                    #call, ringlog_status_name(code), ringlog_status_name(status_),     \
                    ringlog_error_message(error));                                      \
            exit(1);                                                                    \
        }                                                                               \
        ringlog_error_free(error);                                                      \
    } while (0)

#define SECOND_NS ((int64_t)1000000000)

/* An engine with one topic of one partition. */
struct log {
    ringlog_engine *engine;
    ringlog_topic *topic;
    ringlog_stream *stream;
};

/* Options of a small engine, on the backend that the tests are run with. */
ringlog_open_options small_options(void);
struct log log_open(const char *path);
struct log log_open_async(const char *path);
void log_free(struct log *log);

ringlog_bytes bytes_of(const char *text);
ringlog_record record_of(const char *value);
int bytes_are(ringlog_bytes bytes, const char *text);
/* Appends a text and gives its offset. */
uint64_t append(ringlog_stream *stream, const char *value);
ringlog_reader *reader_from(ringlog_stream *stream, uint32_t start, int64_t at);

/* A test: called with a directory of its own. */
struct test {
    const char *name;
    void (*run)(const char *path);
    /* Small enough for valgrind. */
    int quick;
};

extern const struct test layout_tests[];
extern const struct test errors_tests[];
extern const struct test topics_tests[];
extern const struct test append_tests[];
extern const struct test read_tests[];
extern const struct test lifetime_tests[];
extern const struct test queue_tests[];
extern const struct test abuse_tests[];
extern const struct test modes_tests[];
extern const struct test time_tests[];
extern const struct test arrow_tests[];
extern const struct test all_tests[];

#endif
