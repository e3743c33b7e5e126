/* A program that holds an engine and does as it is told, line by line: see host.rs, which says what
 * it is told and what it answers. Usage: host DIRECTORY OPTIONS */
#include <inttypes.h>
#include <ringlog.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *line;
static size_t line_room;

static ringlog_engine *engine;
static ringlog_topic *topic;
static ringlog_stream *stream;

/* The next line without its end; NULL when there is none. */
static const char *next_line(size_t *len) {
    ssize_t got = getline(&line, &line_room, stdin);
    if (got <= 0) {
        return NULL;
    }
    if (line[got - 1] == '\n') {
        line[--got] = 0;
    }
    *len = (size_t)got;
    return line;
}

static void say_error(ringlog_error *error) {
    int unknown = (ringlog_error_flags(error) & RINGLOG_ERROR_OUTCOME_UNKNOWN) != 0;
    printf("> ERR %s %s\n", unknown ? "unknown" : "not", ringlog_error_message(error));
    ringlog_error_free(error);
}

static void set_options(ringlog_open_options *options, char *words) {
    char *word;
    options->flags |= RINGLOG_OPEN_ALLOW_VOLATILE;
    for (word = strtok(words, ","); word; word = strtok(NULL, ",")) {
        char *value = strchr(word, '=');
        if (!value) {
            continue;
        }
        *value++ = 0;
        if (!strcmp(word, "backend")) {
            options->backend = !strcmp(value, "plain") ? RINGLOG_BACKEND_PLAIN
                                                       : RINGLOG_BACKEND_URING;
        } else if (!strcmp(word, "mmap")) {
            options->flags |= !strcmp(value, "no") ? RINGLOG_OPEN_NO_MMAP : 0;
        } else if (!strcmp(word, "segment")) {
            options->segment_bytes = strtoull(value, NULL, 10);
        } else if (!strcmp(word, "payload")) {
            options->max_payload_bytes = strtoull(value, NULL, 10);
        } else if (!strcmp(word, "ring")) {
            options->ring_bytes = strtoull(value, NULL, 10);
        } else if (!strcmp(word, "group")) {
            options->group_bytes = strtoull(value, NULL, 10);
        } else if (!strcmp(word, "timeout")) {
            options->append_timeout_ns = strtoll(value, NULL, 10) * 1000000;
        } else if (!strcmp(word, "close")) {
            options->close_timeout_ns = strtoll(value, NULL, 10) * 1000000;
        } else {
            fprintf(stderr, "no option %s\n", word);
            exit(2);
        }
    }
}

/* One after another: each is acknowledged, or fails, before the next is begun. */
static void append(size_t count) {
    while (count-- > 0) {
        ringlog_record record;
        ringlog_error *error = NULL;
        uint64_t offset;
        memset(&record, 0, sizeof record);
        record.value.ptr = next_line(&record.value.len);
        if (ringlog_append(stream, &record, 1, sizeof record, 0, RINGLOG_DEFAULT_TIMEOUT, &offset,
                           &error)) {
            say_error(error);
        } else {
            printf("> ACK %" PRIu64 "\n", offset);
        }
        fflush(stdout);
    }
}

/* Every byte is looked at: pages of a mapping may be gone. */
static ringlog_status look(const ringlog_batch *batch, uint64_t *records, ringlog_error **error) {
    static volatile unsigned char seen;
    ringlog_view views[64];
    size_t from = 0, count, at, byte;
    for (;; from += count) {
        ringlog_status status =
            ringlog_batch_views(batch, from, views, 64, sizeof views[0], &count, error);
        if (status || count == 0) {
            return status;
        }
        for (at = 0; at < count; at++) {
            const unsigned char *value = views[at].value.ptr;
            for (byte = 0; byte < views[at].value.len; byte++) {
                seen ^= value[byte];
            }
        }
        *records += count;
    }
}

static void read_all(void) {
    ringlog_reader *reader = NULL;
    ringlog_error *error = NULL;
    uint64_t records = 0;
    ringlog_status status =
        ringlog_reader_open(stream, RINGLOG_START_EARLIEST, 0, 0, &reader, &error);
    while (!status) {
        ringlog_batch *batch = NULL;
        status = ringlog_reader_next(reader, 0, 0, &batch, &error);
        if (status || !batch) {
            break;
        }
        status = look(batch, &records, &error);
        ringlog_batch_free(batch);
    }
    if (status) {
        printf("> READ %" PRIu64 " %s\n", records, ringlog_error_message(error));
    } else {
        printf("> READ %" PRIu64 "\n", records);
    }
    ringlog_error_free(error);
    ringlog_reader_free(reader);
}

static void say_stat(void) {
    ringlog_text *text = NULL;
    ringlog_error *error = NULL;
    if (ringlog_stats_json(engine, &text, &error)) {
        say_error(error);
        return;
    }
    printf("> STAT %.*s\n", (int)ringlog_text_len(text), ringlog_text_ptr(text));
    ringlog_text_free(text);
}

static void say_metrics(void) {
    ringlog_text *text = NULL;
    ringlog_error *error = NULL;
    const char *at, *end, *stop;
    size_t lines = 0;
    if (ringlog_metrics_prometheus(engine, &text, &error)) {
        say_error(error);
        return;
    }
    stop = ringlog_text_ptr(text) + ringlog_text_len(text);
    for (at = ringlog_text_ptr(text); at < stop; at++) {
        lines += *at == '\n';
    }
    printf("> METRICS %zu\n", lines);
    for (at = ringlog_text_ptr(text); at < stop; at = end + 1) {
        end = memchr(at, '\n', (size_t)(stop - at));
        if (!end) {
            break;
        }
        printf("> %.*s\n", (int)(end - at), at);
    }
    ringlog_text_free(text);
}

int main(int argc, char **argv) {
    ringlog_open_options options;
    ringlog_error *error = NULL;
    const char *told;
    size_t len;
    if (argc != 3) {
        return 2;
    }
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    set_options(&options, argv[2]);
    if (ringlog_open(argv[1], &options, &engine, &error) ||
        ringlog_topic_open_or_create(engine, "t", NULL, &topic, &error) ||
        ringlog_stream_open(topic, 0, &stream, &error)) {
        say_error(error);
        return 0;
    }
    printf("> OPEN\n");
    fflush(stdout);
    while ((told = next_line(&len))) {
        if (!strncmp(told, "append ", 7)) {
            append(strtoull(told + 7, NULL, 10));
        } else if (!strcmp(told, "read")) {
            read_all();
        } else if (!strcmp(told, "stat")) {
            say_stat();
        } else if (!strcmp(told, "metrics")) {
            say_metrics();
        } else if (!strcmp(told, "close")) {
            break;
        } else {
            return 2;
        }
        fflush(stdout);
    }
    ringlog_stream_free(stream);
    ringlog_topic_free(topic);
    if (ringlog_close(engine, RINGLOG_DEFAULT_TIMEOUT, &error)) {
        say_error(error);
    } else {
        printf("> CLOSED\n");
    }
    ringlog_engine_free(engine);
    free(line);
    return 0;
}
