/* Readers of a partition, and of all partitions of a topic.
 * Part of `ringlog.hpp`, which says what holds for all of it. */
#ifndef RINGLOG_READER_HPP
#define RINGLOG_READER_HPP

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include "base.hpp"
#include "batch.hpp"

namespace ringlog {

/// Where a reader starts.
class Start {
public:
    static Start earliest() noexcept { return Start(RINGLOG_START_EARLIEST, 0); }
    static Start latest() noexcept { return Start(RINGLOG_START_LATEST, 0); }
    static Start offset(std::uint64_t offset) noexcept {
        return Start(RINGLOG_START_OFFSET, static_cast<std::int64_t>(offset));
    }
    /// At the first record of this time, in milliseconds since 1970, or later.
    static Start time(std::int64_t ms) noexcept { return Start(RINGLOG_START_TIME, ms); }

    std::uint32_t start() const noexcept { return start_; }
    std::int64_t at() const noexcept { return at_; }

private:
    Start(std::uint32_t start, std::int64_t at) noexcept : start_(start), at_(at) {}

    std::uint32_t start_;
    std::int64_t at_;
};

namespace detail {

/// Bytes that one step of a range takes together, about.
constexpr std::size_t range_bytes = 64 * 1024;

/// The batches that a reader gives, each waiting up to a timeout.
template <class R> class BatchIterator {
public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Batch;
    using difference_type = std::ptrdiff_t;
    using pointer = const Batch *;
    using reference = const Batch &;

    BatchIterator() = default;
    BatchIterator(R *reader, Timeout timeout) : reader_(reader), timeout_(timeout) { ++*this; }

    reference operator*() const noexcept { return *batch_; }
    pointer operator->() const noexcept { return batch_.get(); }
    BatchIterator &operator++() {
        std::optional<Batch> next = reader_->next(timeout_, range_bytes);
        batch_ = next ? std::make_shared<Batch>(std::move(*next)) : nullptr;
        return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(const BatchIterator &other) const noexcept { return batch_ == other.batch_; }
    bool operator!=(const BatchIterator &other) const noexcept { return batch_ != other.batch_; }

private:
    R *reader_ = nullptr;
    Timeout timeout_ = Timeout::none();
    std::shared_ptr<Batch> batch_;
};

/// See `Reader::follow`.
template <class R> class Following {
public:
    Following(R &reader, Timeout timeout) : reader_(&reader), timeout_(timeout) {}
    BatchIterator<R> begin() const { return BatchIterator<R>(reader_, timeout_); }
    BatchIterator<R> end() const { return BatchIterator<R>(); }

private:
    R *reader_;
    Timeout timeout_;
};

/// What a call for the next batch gives: none if nothing came in time.
template <class Call> std::optional<Batch> next_batch(Call call) {
    ringlog_batch *batch = get<ringlog_batch *>(call);
    return batch == nullptr ? std::nullopt : std::optional<Batch>(Batch(batch));
}

} // namespace detail

/// Reads one partition, one thread at a time. As a range it gives batch after batch, and ends where
/// the partition ends now.
class Reader {
public:
    using iterator = detail::BatchIterator<Reader>;
    using Following = detail::Following<Reader>;

    explicit Reader(ringlog_reader *reader) noexcept : reader_(reader) {}

    /// What comes next; none if nothing came in time. `max_bytes` as of `ringlog_reader_next`.
    std::optional<Batch> next(Timeout timeout = Timeout::none(), std::size_t max_bytes = 0) {
        return detail::next_batch([&](ringlog_batch **batch, ringlog_error **error) {
            return ringlog_reader_next(reader_.get(), max_bytes, timeout.ns(), batch, error);
        });
    }
    void seek(Start start) {
        detail::check([&](ringlog_error **error) {
            return ringlog_reader_seek(reader_.get(), start.start(), start.at(), error);
        });
    }
    /// The offset of the next record.
    std::uint64_t position() const {
        return detail::get<std::uint64_t>([&](auto *offset, ringlog_error **error) {
            return ringlog_reader_position(reader_.get(), offset, error);
        });
    }
    /// A range that sleeps until there is more, and ends when nothing came for `timeout`.
    Following follow(Timeout timeout = Timeout::forever()) { return Following(*this, timeout); }

    iterator begin() { return iterator(this, Timeout::none()); }
    iterator end() { return iterator(); }
    ringlog_reader *get() const noexcept { return reader_.get(); }

private:
    detail::Handle<ringlog_reader, ringlog_reader_free> reader_;
};

/// Reads all partitions of a topic, one thread at a time: batches in turns between the partitions
/// that have something, in order within each; `View::partition` tells. As a range it ends where the
/// topic ends now.
class TopicReader {
public:
    using iterator = detail::BatchIterator<TopicReader>;
    using Following = detail::Following<TopicReader>;

    explicit TopicReader(ringlog_topic_reader *reader) noexcept : reader_(reader) {}

    /// What comes next; none if nothing came in time. `max_bytes` as of
    /// `ringlog_topic_reader_next`; with 0 each batch is of one partition.
    std::optional<Batch> next(Timeout timeout = Timeout::none(), std::size_t max_bytes = 0) {
        return detail::next_batch([&](ringlog_batch **batch, ringlog_error **error) {
            return ringlog_topic_reader_next(reader_.get(), max_bytes, timeout.ns(), batch,
                                             error);
        });
    }
    /// Goes on elsewhere in one partition.
    void seek(std::uint32_t partition, Start start) {
        detail::check([&](ringlog_error **error) {
            return ringlog_topic_reader_seek(reader_.get(), partition, start.start(), start.at(),
                                             error);
        });
    }
    /// The offset of the next record of one partition.
    std::uint64_t position(std::uint32_t partition) const {
        return detail::get<std::uint64_t>([&](auto *offset, ringlog_error **error) {
            return ringlog_topic_reader_position(reader_.get(), partition, offset, error);
        });
    }
    /// A range that sleeps until there is more, and ends when nothing came for `timeout`.
    Following follow(Timeout timeout = Timeout::forever()) { return Following(*this, timeout); }

    iterator begin() { return iterator(this, Timeout::none()); }
    iterator end() { return iterator(); }
    ringlog_topic_reader *get() const noexcept { return reader_.get(); }

private:
    detail::Handle<ringlog_topic_reader, ringlog_topic_reader_free> reader_;
};

} // namespace ringlog

#endif /* RINGLOG_READER_HPP */
