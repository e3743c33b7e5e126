/* Topics and their partitions.
 * Part of `ringlog.hpp`, which says what holds for all of it. */
#ifndef RINGLOG_TOPIC_HPP
#define RINGLOG_TOPIC_HPP

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base.hpp"
#include "queue.hpp"
#include "reader.hpp"
#include "record.hpp"
#include "send.hpp"

namespace ringlog {

/// A record's offset with its time, in milliseconds since 1970.
struct TimedOffset {
    std::uint64_t offset;
    std::int64_t timestamp_ms;
};

/// One partition of a topic. Thread-safe.
class Stream {
public:
    explicit Stream(ringlog_stream *stream) noexcept : stream_(stream) {}

    /// Appends one record, waits for its acknowledgement, and gives its offset.
    std::uint64_t append(const Record &record, AppendOptions options = AppendOptions()) {
        return append(&record, 1, options);
    }
    /// Appends records as one batch, and gives the first one's offset.
    std::uint64_t append_many(const std::vector<Record> &records,
                              AppendOptions options = AppendOptions()) {
        return append(records.data(), records.size(), options);
    }
    /// Appends a ready-made Kafka RecordBatch v2.
    std::uint64_t append_batch(std::string_view batch, AppendOptions options = AppendOptions()) {
        return detail::get<std::uint64_t>([&](auto *first, ringlog_error **error) {
            return ringlog_append_batch(stream_.get(), detail::bytes(batch), options.flags,
                                        options.timeout.ns(), first, error);
        });
    }
    /// As `append`, without waiting: `queue` gives the outcome under `tag`.
    void submit_append(CompletionQueue &queue, const Record &record, std::uint64_t tag,
                       std::uint32_t flags = 0) {
        const detail::Raw raw(&record, 1);
        detail::check([&](ringlog_error **error) {
            return ringlog_submit_append(stream_.get(), queue.get(), raw.all.data(), 1,
                                         sizeof(ringlog_record), flags, tag, error);
        });
    }
    /// As `append_batch`, without waiting.
    void submit_batch(CompletionQueue &queue, std::string_view batch, std::uint64_t tag,
                      std::uint32_t flags = 0) {
        detail::check([&](ringlog_error **error) {
            return ringlog_submit_batch(stream_.get(), queue.get(), detail::bytes(batch), flags,
                                        tag, error);
        });
    }

    Reader reader(Start start = Start::earliest(), std::uint32_t flags = 0) const {
        return Reader(detail::get<ringlog_reader *>([&](auto *reader, ringlog_error **error) {
            return ringlog_reader_open(stream_.get(), start.start(), start.at(), flags, reader,
                                       error);
        }));
    }
    /// Where whole record batches lie, from an offset on: see `ringlog_extents_new`.
    Extents extents(std::uint64_t from, std::uint64_t max_bytes) const {
        std::uint64_t next = 0;
        ringlog_extents *found = detail::get<ringlog_extents *>(
            [&](auto *extents, ringlog_error **error) {
                return ringlog_extents_new(stream_.get(), from, max_bytes, extents, &next, error);
            });
        return Extents(found, next);
    }
    /// A sender of record batches, from an offset on.
    Sender sender(std::uint64_t from) const {
        return Sender(detail::get<ringlog_sender *>([&](auto *sender, ringlog_error **error) {
            return ringlog_sender_open(stream_.get(), from, sender, error);
        }));
    }
    /// Gives up every record below `offset`, durably.
    void trim(std::uint64_t offset) {
        detail::check([&](ringlog_error **error) {
            return ringlog_trim(stream_.get(), offset, error);
        });
    }
    /// The first record of this time or later; none if there is none.
    std::optional<TimedOffset> offset_for_time(std::int64_t ms) const {
        TimedOffset found{};
        detail::check([&](ringlog_error **error) {
            return ringlog_offset_for_time(stream_.get(), ms, &found.offset, &found.timestamp_ms,
                                           error);
        });
        return there(found);
    }
    /// The first record of the latest time; none if there are no records.
    std::optional<TimedOffset> max_timestamp() const {
        TimedOffset found{};
        detail::check([&](ringlog_error **error) {
            return ringlog_max_timestamp(stream_.get(), &found.offset, &found.timestamp_ms, error);
        });
        return there(found);
    }
    ringlog_stream_info info() const {
        return detail::get<ringlog_stream_info>([&](auto *info, ringlog_error **error) {
            return ringlog_stream_describe(stream_.get(), info, sizeof *info, error);
        });
    }
    ringlog_stream *get() const noexcept { return stream_.get(); }

private:
    static std::optional<TimedOffset> there(TimedOffset found) noexcept {
        if (found.offset == RINGLOG_NO_OFFSET) {
            return std::nullopt;
        }
        return found;
    }
    std::uint64_t append(const Record *records, std::size_t count, AppendOptions options) {
        const detail::Raw raw(records, count);
        return detail::get<std::uint64_t>([&](auto *first, ringlog_error **error) {
            return ringlog_append(stream_.get(), raw.all.data(), count, sizeof(ringlog_record),
                                  options.flags, options.timeout.ns(), first, error);
        });
    }

    detail::Handle<ringlog_stream, ringlog_stream_free> stream_;
};

/// A topic. Thread-safe.
class Topic {
public:
    explicit Topic(ringlog_topic *topic) noexcept : topic_(topic) {}

    /// Appends one record to the partition of its key, and gives where it is.
    ringlog_record_id append(const Record &record, AppendOptions options = AppendOptions()) {
        ringlog_record_id id{};
        append(&record, 1, options, &id);
        return id;
    }
    /// Appends records, each to the partition of its key, and gives where they are: see
    /// `ringlog_topic_append`.
    std::vector<ringlog_record_id> append_many(const std::vector<Record> &records,
                                               AppendOptions options = AppendOptions()) {
        std::vector<ringlog_record_id> ids(records.size());
        append(records.data(), records.size(), options, ids.data());
        return ids;
    }
    /// The partition that a record with this key goes to; without one the next in turn.
    std::uint32_t partition_for(const std::optional<std::string_view> &key) const {
        return detail::get<std::uint32_t>([&](auto *partition, ringlog_error **error) {
            return ringlog_topic_partition_for(topic_.get(), detail::bytes(key), partition, error);
        });
    }
    /// A reader of all its partitions, each from `start` on.
    TopicReader reader(Start start = Start::earliest(), std::uint32_t flags = 0) const {
        return TopicReader(
            detail::get<ringlog_topic_reader *>([&](auto *reader, ringlog_error **error) {
                return ringlog_topic_reader_open(topic_.get(), start.start(), start.at(), flags,
                                                 reader, error);
            }));
    }
    Stream stream(std::uint32_t partition) const {
        return Stream(detail::get<ringlog_stream *>([&](auto *stream, ringlog_error **error) {
            return ringlog_stream_open(topic_.get(), partition, stream, error);
        }));
    }
    /// The name in it belongs to this topic.
    ringlog_topic_info info() const {
        return detail::get<ringlog_topic_info>([&](auto *info, ringlog_error **error) {
            return ringlog_topic_describe(topic_.get(), info, sizeof *info, error);
        });
    }
    ringlog_topic *get() const noexcept { return topic_.get(); }

private:
    void append(const Record *records, std::size_t count, AppendOptions options,
                ringlog_record_id *ids) {
        const detail::Raw raw(records, count);
        detail::check([&](ringlog_error **error) {
            return ringlog_topic_append(topic_.get(), raw.all.data(), count, sizeof(ringlog_record),
                                        options.flags, options.timeout.ns(), ids, sizeof *ids,
                                        error);
        });
    }

    detail::Handle<ringlog_topic, ringlog_topic_free> topic_;
};

} // namespace ringlog

#endif /* RINGLOG_TOPIC_HPP */
