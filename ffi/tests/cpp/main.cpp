// The tests of `ringlog.hpp`: `--list` names them; a name and a directory runs one.
#include "check.hpp"

#include <cstring>
#include <fcntl.h>
#include <optional>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

using ringlog::Start;
using ringlog::Timeout;
using namespace std::chrono_literals;

ringlog::Topic topic_of(ringlog::Engine &engine, std::uint32_t partitions,
                        std::uint32_t flush = RINGLOG_FLUSH_SYNC) {
    ringlog_topic_options options = ringlog::topic_options();
    options.partitions = partitions;
    options.flush = flush;
    return engine.create_topic("t", options);
}

std::string all_bytes(ringlog::Reader reader) {
    std::string all;
    for (const ringlog::Batch &batch : reader) {
        for (std::size_t part = 0; part < batch.parts(); part++) {
            all += batch.bytes(part);
        }
    }
    return all;
}

// So much that most of it lies in segments, in batches of one record.
void fill(ringlog::Stream &stream) {
    const std::string value(10000, 'x');
    for (int at = 0; at < 200; at++) {
        stream.append(ringlog::Record(value));
    }
}

void extents_name_whole_batches(const std::string &path) {
    ringlog::Engine engine(path, small_options());
    ringlog::Stream stream = topic_of(engine, 1, RINGLOG_FLUSH_ASYNC).stream(0);
    fill(stream);
    const std::string wanted = all_bytes(stream.reader());
    std::string found;
    std::uint64_t next = 0;
    std::size_t files = 0;
    while (next < 200) {
        ringlog::Extents moved = stream.extents(next, 16 << 10);
        CHECK(moved.size() > 0 && moved.next_offset() > next);
        const ringlog::Extents extents = std::move(moved);
        for (const ringlog::Extent &extent : extents) {
            if (!extent.is_file()) {
                CHECK(extent.fd() == -1 && extent.memory().size() == extent.size());
                found += extent.memory();
                continue;
            }
            files++;
            CHECK(extent.memory().empty());
            std::string piece(extent.size(), '\0');
            CHECK(pread(extent.fd(), piece.data(), piece.size(),
                        static_cast<off_t>(extent.offset())) ==
                  static_cast<ssize_t>(piece.size()));
            found += piece;
        }
        next = extents.next_offset();
    }
    CHECK(files > 0 && found == wanted);
    const ringlog::Extents nothing = stream.extents(200, 1);
    CHECK(nothing.size() == 0 && nothing.begin() == nothing.end() && nothing.next_offset() == 200);
    THROWS(RINGLOG_E_OFFSET_OUT_OF_RANGE, stream.extents(201, 1));
}

void extents_hold_their_bytes_beyond_the_engine(const std::string &path) {
    std::optional<ringlog::Extents> extents;
    std::string wanted;
    {
        ringlog::Engine engine(path, small_options());
        ringlog::Stream stream = topic_of(engine, 1).stream(0);
        stream.append("one");
        wanted = all_bytes(stream.reader());
        extents.emplace(stream.extents(0, 1 << 20));
        engine.close();
    }
    std::string found;
    for (const ringlog::Extent &extent : *extents) {
        std::string piece(extent.size(), '\0');
        if (extent.is_file()) {
            CHECK(pread(extent.fd(), piece.data(), piece.size(),
                        static_cast<off_t>(extent.offset())) ==
                  static_cast<ssize_t>(piece.size()));
        } else {
            piece = extent.memory();
        }
        found += piece;
    }
    CHECK(!wanted.empty() && found == wanted);
}

void a_sender_keeps_its_place(const std::string &path) {
    ringlog::Engine engine(path, small_options());
    ringlog::Stream stream = topic_of(engine, 1, RINGLOG_FLUSH_ASYNC).stream(0);
    fill(stream);
    const std::string wanted = all_bytes(stream.reader());
    int ends[2];
    CHECK(pipe2(ends, O_NONBLOCK) == 0);
    ringlog::Sender sender = stream.sender(0);
    std::string found, piece(64 << 10, '\0');
    int partial = 0;
    ringlog::Sent sent{};
    do {
        sent = sender.send(ends[1], 1 << 20);
        partial += sent.complete ? 0 : 1;
        ssize_t got;
        while ((got = read(ends[0], piece.data(), piece.size())) > 0) {
            found.append(piece.data(), static_cast<std::size_t>(got));
        }
    } while (!sent.complete || sent.bytes > 0);
    CHECK(sent.next_offset == 200 && partial > 0 && found == wanted);
    THROWS(RINGLOG_E_INVALID_ARGUMENT, sender.send(-1, 1));
    stream.append("more");
    close(ends[0]);
    THROWS(RINGLOG_E_PEER, sender.send(ends[1], 1));
    close(ends[1]);
    THROWS(RINGLOG_E_OFFSET_OUT_OF_RANGE, stream.sender(999));
}

int codec_of(const ringlog::Batch &batch) {
    return static_cast<unsigned char>(batch.bytes()[22]) & 7;
}

void compression_and_time_are_the_topics_or_the_calls(const std::string &path) {
    ringlog::Engine engine(path, small_options());
    ringlog_topic_options options = ringlog::topic_options();
    options.compression = RINGLOG_COMPRESSION_ZSTD;
    options.timestamps = RINGLOG_TIME_APPEND;
    ringlog::Topic topic = engine.create_topic("packed", options);
    CHECK(topic.info().compression == RINGLOG_COMPRESSION_ZSTD);
    CHECK(topic.info().timestamps == RINGLOG_TIME_APPEND);
    ringlog::Stream stream = topic.stream(0);
    ringlog::Record record("value");
    record.timestamp_ms = 1;
    stream.append(record);
    ringlog::AppendOptions gzip;
    gzip.flags = RINGLOG_APPEND_COMPRESSION_GZIP;
    stream.append(record, gzip);
    ringlog::AppendOptions none;
    none.flags = RINGLOG_APPEND_COMPRESSION_NONE | RINGLOG_APPEND_DURABLE;
    topic.append(record, none);
    ringlog::Reader reader = stream.reader();
    const std::vector<int> codecs{RINGLOG_COMPRESSION_ZSTD, RINGLOG_COMPRESSION_GZIP,
                                  RINGLOG_COMPRESSION_NONE};
    for (int codec : codecs) {
        std::optional<ringlog::Batch> batch = reader.next();
        CHECK(batch && codec_of(*batch) == codec && batch->size() == 1);
        for (const ringlog::View &view : *batch) {
            CHECK(view.value() == "value" && view.is_append_time() && view.timestamp_ms() > 1);
        }
    }
    CHECK(!reader.next());
    ringlog::AppendOptions both;
    both.flags = RINGLOG_APPEND_COMPRESSION_GZIP | RINGLOG_APPEND_COMPRESSION_LZ4;
    THROWS(RINGLOG_E_INVALID_ARGUMENT, stream.append(record, both));
}

void a_topic_is_read_as_one(const std::string &path) {
    ringlog::Engine engine(path, small_options());
    ringlog::Topic topic = topic_of(engine, 3);
    std::vector<ringlog::Record> records;
    const std::vector<std::string> keys{"a", "b", "c", "d", "e", "f", "g", "h"};
    for (const std::string &key : keys) {
        records.emplace_back(key, key);
    }
    const std::vector<ringlog_record_id> ids = topic.append_many(records);
    CHECK(ids.size() == keys.size());
    std::size_t found = 0;
    ringlog::TopicReader reader = topic.reader();
    for (const ringlog::Batch &batch : reader) {
        for (const ringlog::View &view : batch) {
            const std::size_t at = static_cast<std::size_t>((*view.key())[0] - 'a');
            CHECK(ids[at].partition == view.partition() && ids[at].offset == view.offset());
            CHECK(topic.partition_for(keys[at]) == view.partition());
            found++;
        }
    }
    CHECK(found == keys.size() && !reader.next());
    reader.seek(ids[0].partition, Start::earliest());
    CHECK(reader.position(ids[0].partition) == 0);
    std::optional<ringlog::Batch> batch = reader.next();
    CHECK(batch && batch->partition() == ids[0].partition);
    CHECK(!reader.next(1ms));
    THROWS(RINGLOG_E_UNKNOWN_PARTITION, reader.seek(3, Start::latest()));
    THROWS(RINGLOG_E_OFFSET_OUT_OF_RANGE, topic.reader(Start::offset(99)));
}

void a_follower_of_a_topic_sleeps_and_ends_with_the_close(const std::string &path) {
    ringlog::Engine engine(path, small_options());
    ringlog::Topic topic = topic_of(engine, 2);
    ringlog::TopicReader reader = topic.reader();
    std::thread writer([&] {
        for (int at = 0; at < 20; at++) {
            topic.stream(static_cast<std::uint32_t>(at % 2)).append("v");
        }
    });
    std::uint64_t ends[2] = {0, 0};
    for (const ringlog::Batch &batch : reader.follow()) {
        for (const ringlog::View &view : batch) {
            CHECK(view.offset() == ends[view.partition()]++);
        }
        if (ends[0] + ends[1] == 20) {
            break;
        }
    }
    writer.join();
    std::thread closer([&] { engine.close(); });
    THROWS(RINGLOG_E_CLOSED, reader.next(Timeout::forever()));
    closer.join();
}

void a_queue_takes_everything(const std::string &path) {
    ringlog::Engine engine(path, small_options());
    ringlog::Topic topic = topic_of(engine, 2);
    ringlog::Stream first = topic.stream(0), second = topic.stream(1);
    ringlog::CompletionQueue queue = engine.completion_queue(8);
    ringlog::TopicReader all = topic.reader();
    queue.submit_read(all, 1);
    THROWS(RINGLOG_E_IN_USE, all.next());
    CHECK(queue.poll(Timeout::none()).empty());
    second.submit_append(queue, "v", 2);
    engine.submit_flush(queue, 3);
    std::optional<ringlog::Batch> read;
    int seen = 0;
    while (seen != 6) {
        for (const ringlog::Completion &done : queue.poll(30s)) {
            done.check();
            CHECK(done.op() != RINGLOG_OP_READ || done.partition() == 1);
            if (done.op() == RINGLOG_OP_READ) {
                read.emplace(done.batch().share());
            }
            seen += static_cast<int>(done.tag());
        }
    }
    CHECK(read && read->size() == 1 && read->begin()->value() == "v");
    first.submit_batch(queue, read->bytes(), 4);
    std::vector<ringlog::Completion> done = queue.poll(30s);
    CHECK(done.size() == 1 && done[0].ok() && done[0].tag() == 4 && done[0].first_offset() == 0);
    CHECK(all.position(1) == 1 && all.next(30s)->partition() == 0);
}

const Test tests[] = {
    {"extents_name_whole_batches", extents_name_whole_batches},
    {"extents_hold_their_bytes_beyond_the_engine", extents_hold_their_bytes_beyond_the_engine},
    {"a_sender_keeps_its_place", a_sender_keeps_its_place},
    {"compression_and_time_are_the_topics_or_the_calls",
     compression_and_time_are_the_topics_or_the_calls},
    {"a_topic_is_read_as_one", a_topic_is_read_as_one},
    {"a_follower_of_a_topic_sleeps_and_ends_with_the_close",
     a_follower_of_a_topic_sleeps_and_ends_with_the_close},
    {"a_queue_takes_everything", a_queue_takes_everything},
};

} // namespace

int main(int argc, char **argv) {
    const std::string what = argc > 1 ? argv[1] : "--list";
    int found = 0;
    for (const Test &test : tests) {
        if (what == "--list") {
            std::cout << test.name << '\n';
            found = 1;
        } else if (argc > 2 && what == test.name) {
            test.run(argv[2]);
            found = 1;
        }
    }
    return found != 0 ? 0 : 2;
}
