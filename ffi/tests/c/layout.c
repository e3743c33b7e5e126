/* What a compiled program relies on: sizes, offsets, numbers, names. None of them may change. */
#include "check.h"

static void sizes_and_offsets(const char *path) {
    (void)path;
    CHECK(sizeof(ringlog_status) == 4);
    CHECK(sizeof(ringlog_bytes) == 16 && offsetof(ringlog_bytes, len) == 8);
    CHECK(sizeof(ringlog_header) == 32 && offsetof(ringlog_header, value) == 16);
    CHECK(sizeof(ringlog_record) == 56);
    CHECK(offsetof(ringlog_record, key) == 0 && offsetof(ringlog_record, value) == 16);
    CHECK(offsetof(ringlog_record, headers) == 32 && offsetof(ringlog_record, n_headers) == 40);
    CHECK(offsetof(ringlog_record, timestamp_ms) == 48);
    CHECK(sizeof(ringlog_view) == 72);
    CHECK(offsetof(ringlog_view, offset) == 0 && offsetof(ringlog_view, timestamp_ms) == 8);
    CHECK(offsetof(ringlog_view, key) == 16 && offsetof(ringlog_view, value) == 32);
    CHECK(offsetof(ringlog_view, headers) == 48 && offsetof(ringlog_view, flags) == 64);
    CHECK(offsetof(ringlog_view, partition) == 68);
    CHECK(sizeof(ringlog_completion) == 56);
    CHECK(offsetof(ringlog_completion, status) == 8 && offsetof(ringlog_completion, op) == 12);
    CHECK(offsetof(ringlog_completion, partition) == 16);
    CHECK(offsetof(ringlog_completion, first_offset) == 24);
    CHECK(offsetof(ringlog_completion, last_offset) == 32);
    CHECK(offsetof(ringlog_completion, batch) == 40 && offsetof(ringlog_completion, error) == 48);
    CHECK(offsetof(ringlog_open_options, flags) == 8);
    CHECK(offsetof(ringlog_open_options, backend) == 12);
    CHECK(offsetof(ringlog_open_options, segment_bytes) == 16);
    CHECK(offsetof(ringlog_open_options, ring_bytes) == 24);
    CHECK(offsetof(ringlog_open_options, group_bytes) == 32);
    CHECK(offsetof(ringlog_open_options, max_payload_bytes) == 40);
    CHECK(offsetof(ringlog_open_options, async_window_bytes) == 48);
    CHECK(offsetof(ringlog_open_options, async_window_ns) == 56);
    CHECK(offsetof(ringlog_open_options, append_timeout_ns) == 64);
    CHECK(offsetof(ringlog_open_options, lock_timeout_ns) == 72);
    CHECK(offsetof(ringlog_open_options, close_timeout_ns) == 80);
    CHECK(sizeof(ringlog_open_options) == 144 && offsetof(ringlog_open_options, shards) == 88);
    CHECK(offsetof(ringlog_open_options, groups_in_flight) == 92);
    CHECK(offsetof(ringlog_open_options, pinned_bytes_max) == 96);
    CHECK(offsetof(ringlog_open_options, log) == 104);
    CHECK(offsetof(ringlog_open_options, log_context) == 112);
    CHECK(offsetof(ringlog_open_options, scrub_bytes_per_second) == 120);
    CHECK(offsetof(ringlog_open_options, scrub_every_ns) == 128);
    CHECK(offsetof(ringlog_open_options, batch_bytes) == 136);
    CHECK(sizeof(ringlog_extent) == 32 && offsetof(ringlog_extent, offset) == 8);
    CHECK(offsetof(ringlog_extent, len) == 16 && offsetof(ringlog_extent, memory) == 24);
    CHECK(sizeof(ringlog_sent) == 24 && offsetof(ringlog_sent, complete) == 16);
    CHECK(sizeof(ringlog_topic_options) == 24 && sizeof(ringlog_topic_info) == 40);
    CHECK(offsetof(ringlog_topic_options, compression) == 16);
    CHECK(offsetof(ringlog_topic_info, compression) == 32);
    CHECK(sizeof(ringlog_record_id) == 16 && offsetof(ringlog_record_id, partition) == 8);
    CHECK(sizeof(ringlog_stream_info) == 40 && offsetof(ringlog_stream_info, log) == 28);
    CHECK(offsetof(ringlog_stream_info, shard) == 32);
    CHECK(offsetof(ringlog_topic_options, partitions) == 8);
    CHECK(offsetof(ringlog_topic_options, flush) == 12);
    CHECK(offsetof(ringlog_topic_info, uuid) == 8);
    CHECK(offsetof(ringlog_topic_info, partitions) == 24);
    CHECK(offsetof(ringlog_topic_info, flush) == 28);
    CHECK(offsetof(ringlog_stream_info, end) == 8);
    CHECK(offsetof(ringlog_stream_info, durable_end) == 16);
    CHECK(offsetof(ringlog_stream_info, partition) == 24);
}

static void codes_keep_their_numbers_and_names(const char *path) {
    static const struct {
        ringlog_status code;
        int number;
        const char *name;
    } codes[] = {
#define CODE(name, number) {name, number, #name}
        CODE(RINGLOG_OK, 0),
        CODE(RINGLOG_E_INVALID_ARGUMENT, -1),
        CODE(RINGLOG_E_UNKNOWN_TOPIC, -2),
        CODE(RINGLOG_E_TOPIC_EXISTS, -3),
        CODE(RINGLOG_E_UNKNOWN_PARTITION, -4),
        CODE(RINGLOG_E_TOO_LARGE, -5),
        CODE(RINGLOG_E_INVALID_BATCH, -6),
        CODE(RINGLOG_E_OFFSET_OUT_OF_RANGE, -7),
        CODE(RINGLOG_E_BUSY, -8),
        CODE(RINGLOG_E_TIMEOUT, -9),
        CODE(RINGLOG_E_LOCKED, -10),
        CODE(RINGLOG_E_NO_SPACE, -11),
        CODE(RINGLOG_E_CLOSED, -12),
        CODE(RINGLOG_E_LATCHED, -13),
        CODE(RINGLOG_E_CORRUPT, -14),
        CODE(RINGLOG_E_NOT_A_DATA_DIRECTORY, -15),
        CODE(RINGLOG_E_UNSUPPORTED_FORMAT, -16),
        CODE(RINGLOG_E_READ_ONLY, -17),
        CODE(RINGLOG_E_NOT_DURABLE, -18),
        CODE(RINGLOG_E_IO, -19),
        CODE(RINGLOG_E_PINNED, -20),
        CODE(RINGLOG_E_PEER, -21),
        CODE(RINGLOG_E_FORKED, -22),
        CODE(RINGLOG_E_PANIC, -23),
        CODE(RINGLOG_E_ABI, -24),
        CODE(RINGLOG_E_IN_USE, -25),
        CODE(RINGLOG_E_QUEUE_FULL, -26),
        CODE(RINGLOG_E_OTHER, -27),
        CODE(RINGLOG_E_PARTLY_APPENDED, -28),
        CODE(RINGLOG_E_WRONG_THREAD, -29),
        CODE(RINGLOG_E_TRUNCATED, -30),
#undef CODE
    };
    size_t at;
    (void)path;
    for (at = 0; at < sizeof codes / sizeof *codes; at++) {
        CHECK(codes[at].code == codes[at].number);
        CHECK(strcmp(ringlog_status_name(codes[at].code), codes[at].name) == 0);
    }
    CHECK(strcmp(ringlog_status_name(-31), "RINGLOG_E_?") == 0);
    CHECK(strcmp(ringlog_status_name(1), "RINGLOG_E_?") == 0);
}

static void the_library_is_the_headers(const char *path) {
    (void)path;
    CHECK(ringlog_version() == RINGLOG_VERSION);
    CHECK(strcmp(ringlog_version_string(), RINGLOG_VERSION_STRING) == 0);
    CHECK(ringlog_check_abi(RINGLOG_ABI) == RINGLOG_OK);
    CHECK(ringlog_check_abi(RINGLOG_ABI + 1) == RINGLOG_E_ABI);
    CHECK(ringlog_check_abi(0) == RINGLOG_E_ABI);
}

const struct test layout_tests[] = {
    {"sizes_and_offsets", sizes_and_offsets, 1},
    {"codes_keep_their_numbers_and_names", codes_keep_their_numbers_and_names, 1},
    {"the_library_is_the_headers", the_library_is_the_headers, 1},
    {NULL, NULL, 0},
};
