/* Batches over Arrow's C data interface, read with no more than the interface's own structs. */
#include "check.h"

struct ArrowSchema {
    const char *format, *name, *metadata;
    int64_t flags, n_children;
    struct ArrowSchema **children, *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length, null_count, offset, n_buffers, n_children;
    const void **buffers;
    struct ArrowArray **children, *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

#define NULLABLE 2

struct columns {
    struct ArrowSchema schema;
    struct ArrowArray array;
};

static struct columns columns_of(const ringlog_batch *batch) {
    struct columns columns;
    memset(&columns, 0xff, sizeof columns);
    OK(ringlog_batch_to_arrow(batch, &columns.schema, &columns.array, &error));
    CHECK(columns.schema.release != NULL && columns.array.release != NULL);
    return columns;
}

static void release(struct columns *columns) {
    columns->schema.release(&columns->schema);
    columns->array.release(&columns->array);
    CHECK(columns->schema.release == NULL && columns->array.release == NULL);
}

static void check_field(const struct ArrowSchema *field, const char *name, const char *format,
                        int64_t flags) {
    CHECK(strcmp(field->name, name) == 0 && strcmp(field->format, format) == 0);
    CHECK(field->flags == flags && field->dictionary == NULL);
}

static int is_there(const struct ArrowArray *column, int64_t at) {
    const unsigned char *valid = column->buffers[0];
    at += column->offset;
    return valid == NULL || (valid[at / 8] >> (at % 8) & 1) != 0;
}

/* What lies at a place of a column of bytes: absent is NULL. */
static ringlog_bytes bytes_at(const struct ArrowArray *column, int64_t at) {
    const int32_t *ends = column->buffers[1];
    ringlog_bytes bytes = {NULL, 0};
    CHECK(column->n_buffers == 3 && at < column->length);
    if (is_there(column, at)) {
        at += column->offset;
        bytes.ptr = (const char *)column->buffers[2] + ends[at];
        bytes.len = (size_t)(ends[at + 1] - ends[at]);
    }
    return bytes;
}

static int64_t number_at(const struct ArrowArray *column, int64_t at) {
    CHECK(column->n_buffers == 2 && at < column->length && column->null_count == 0);
    return ((const int64_t *)column->buffers[1])[column->offset + at];
}

/* Three records, in two record batches. */
static ringlog_batch *three_records(ringlog_stream *stream) {
    ringlog_header headers[2];
    ringlog_record records[2];
    ringlog_batch *batch = NULL;
    ringlog_reader *reader;
    memset(records, 0, sizeof records);
    headers[0].key = bytes_of("waiter");
    headers[0].value = bytes_of("Ann");
    headers[1].key = bytes_of("urgent");
    headers[1].value = bytes_of(NULL);
    records[0].key = bytes_of("table 7");
    records[0].value = bytes_of("one flat white");
    records[0].headers = headers;
    records[0].n_headers = 2;
    records[0].timestamp_ms = 1700000000000;
    records[1].key = bytes_of("");
    records[1].timestamp_ms = 1700000000001;
    OK(ringlog_append(stream, records, 2, sizeof *records, 0, RINGLOG_FOREVER, NULL, &error));
    append(stream, "tea");
    reader = reader_from(stream, RINGLOG_START_EARLIEST, 0);
    OK(ringlog_reader_next(reader, 1 << 20, 0, &batch, &error));
    CHECK(ringlog_batch_parts(batch) == 2);
    ringlog_reader_free(reader);
    return batch;
}

static void the_schema_is_the_one_of_the_header(const char *path) {
    struct log log = log_open(path);
    ringlog_batch *batch = three_records(log.stream);
    struct columns columns = columns_of(batch);
    struct ArrowSchema **fields = columns.schema.children, *header;
    CHECK(strcmp(columns.schema.format, "+s") == 0 && columns.schema.n_children == 6);
    check_field(fields[0], "partition", "I", 0);
    check_field(fields[1], "offset", "l", 0);
    check_field(fields[2], "timestamp", "tsm:UTC", 0);
    check_field(fields[3], "key", "z", NULLABLE);
    check_field(fields[4], "value", "z", NULLABLE);
    check_field(fields[5], "headers", "+l", 0);
    CHECK(fields[5]->n_children == 1);
    header = fields[5]->children[0];
    CHECK(strcmp(header->format, "+s") == 0 && header->flags == 0 && header->n_children == 2);
    check_field(header->children[0], "key", "u", 0);
    check_field(header->children[1], "value", "z", NULLABLE);
    release(&columns);
    ringlog_batch_free(batch);
    log_free(&log);
}

static void check_values(const struct ArrowArray *array) {
    struct ArrowArray *const *columns = array->children;
    const struct ArrowArray *headers = columns[5];
    const int32_t *ends = headers->buffers[1];
    int64_t at;
    CHECK(array->length == 3 && array->n_children == 6 && array->null_count == 0);
    for (at = 0; at < 3; at++) {
        CHECK(number_at(columns[1], at) == at);
        CHECK(((const uint32_t *)columns[0]->buffers[1])[columns[0]->offset + at] == 0);
    }
    CHECK(number_at(columns[2], 0) == 1700000000000 && number_at(columns[2], 1) == 1700000000001);
    CHECK(number_at(columns[2], 2) > 1700000000001);
    CHECK(columns[3]->null_count == 1 && columns[4]->null_count == 1);
    CHECK(bytes_are(bytes_at(columns[3], 0), "table 7") && bytes_are(bytes_at(columns[3], 1), ""));
    CHECK(bytes_are(bytes_at(columns[3], 2), NULL));
    CHECK(bytes_are(bytes_at(columns[4], 0), "one flat white"));
    CHECK(bytes_are(bytes_at(columns[4], 1), NULL) && bytes_are(bytes_at(columns[4], 2), "tea"));
    ends += headers->offset;
    CHECK(ends[0] == 0 && ends[1] == 2 && ends[2] == 2 && ends[3] == 2);
    headers = headers->children[0];
    CHECK(headers->length == 2 && headers->n_children == 2);
    CHECK(bytes_are(bytes_at(headers->children[0], 0), "waiter"));
    CHECK(bytes_are(bytes_at(headers->children[0], 1), "urgent"));
    CHECK(bytes_are(bytes_at(headers->children[1], 0), "Ann"));
    CHECK(bytes_are(bytes_at(headers->children[1], 1), NULL));
}

static void the_columns_hold_every_field_and_outlive_everything(const char *path) {
    struct log log = log_open(path);
    ringlog_batch *batch = three_records(log.stream);
    struct columns columns = columns_of(batch), again = columns_of(batch);
    struct ArrowArray moved;
    ringlog_batch_free(batch);
    check_values(&columns.array);
    log_free(&log);
    /* Moved, as the interface allows: the copy is released, the original only marked. */
    moved = columns.array;
    columns.array.release = NULL;
    check_values(&moved);
    moved.release(&moved);
    columns.schema.release(&columns.schema);
    CHECK(moved.release == NULL && columns.schema.release == NULL);
    check_values(&again.array);
    release(&again);
}

static void only_what_the_reader_shows_is_in_the_columns(const char *path) {
    struct log log = log_open(path);
    ringlog_batch *batch = three_records(log.stream);
    struct columns columns;
    ringlog_reader *reader = reader_from(log.stream, RINGLOG_START_OFFSET, 1);
    ringlog_batch_free(batch);
    OK(ringlog_reader_next(reader, 0, 0, &batch, &error));
    columns = columns_of(batch);
    CHECK(columns.array.length == 1 && number_at(columns.array.children[1], 0) == 1);
    release(&columns);
    ringlog_batch_free(batch);
    ringlog_reader_free(reader);
    log_free(&log);
}

static void without_a_place_nothing_is_written(const char *path) {
    struct log log = log_open(path);
    ringlog_batch *batch = three_records(log.stream);
    struct columns columns, before;
    memset(&columns, 0xff, sizeof columns);
    before = columns;
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_batch_to_arrow(NULL, &columns.schema, &columns.array, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_batch_to_arrow(batch, NULL, &columns.array, &error));
    FAILS(RINGLOG_E_INVALID_ARGUMENT,
          ringlog_batch_to_arrow(batch, &columns.schema, NULL, &error));
    CHECK(memcmp(&columns, &before, sizeof columns) == 0);
    ringlog_batch_free(batch);
    log_free(&log);
}

const struct test arrow_tests[] = {
    {"the_schema_is_the_one_of_the_header", the_schema_is_the_one_of_the_header, 1},
    {"the_columns_hold_every_field_and_outlive_everything",
     the_columns_hold_every_field_and_outlive_everything, 1},
    {"only_what_the_reader_shows_is_in_the_columns", only_what_the_reader_shows_is_in_the_columns,
     1},
    {"without_a_place_nothing_is_written", without_a_place_nothing_is_written, 1},
    {NULL, NULL, 0},
};
