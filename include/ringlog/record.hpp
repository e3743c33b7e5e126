/* Records to append, and records that were read.
 * Part of `ringlog.hpp`, which says what holds for all of it. */
#ifndef RINGLOG_RECORD_HPP
#define RINGLOG_RECORD_HPP

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>
#include <vector>

#include "base.hpp"

namespace ringlog {

/// A header of a record.
struct Header {
    std::string_view key;
    std::optional<std::string_view> value;
};

/// A record to append. It borrows everything; the append copies once.
struct Record {
    Record() = default;
    Record(std::string_view value_) : value(value_) {}
    Record(const char *value_) : value(value_) {}
    Record(std::string_view key_, std::string_view value_) : key(key_), value(value_) {}

    std::optional<std::string_view> key;
    /// None is not the same as an empty one: a tombstone for its key.
    std::optional<std::string_view> value;
    std::vector<Header> headers;
    /// Milliseconds since 1970; the engine's clock without.
    std::optional<std::int64_t> timestamp_ms;
};

/// How one append differs from its topic's way.
struct AppendOptions {
    /// `RINGLOG_APPEND_*` added up: acknowledgement, compression, whether to wait for room.
    std::uint32_t flags = 0;
    Timeout timeout = Timeout::standard();
};

namespace detail {

/// Records as C has them; headers of all records in one array.
struct Raw {
    Raw(const Record *records, std::size_t count) {
        std::size_t total = 0;
        for (std::size_t at = 0; at < count; at++) {
            total += records[at].headers.size();
        }
        headers.reserve(total);
        for (std::size_t at = 0; at < count; at++) {
            add(records[at]);
        }
    }

    void add(const Record &record) {
        ringlog_record raw{};
        raw.key = detail::bytes(record.key);
        raw.value = detail::bytes(record.value);
        raw.n_headers = record.headers.size();
        raw.headers = headers.data() + headers.size();
        if (record.timestamp_ms) {
            raw.timestamp_ms =
                *record.timestamp_ms == 0 ? RINGLOG_TIMESTAMP_ZERO : *record.timestamp_ms;
        }
        for (const Header &header : record.headers) {
            headers.push_back({detail::bytes(header.key), detail::bytes(header.value)});
        }
        all.push_back(raw);
    }

    std::vector<ringlog_header> headers;
    std::vector<ringlog_record> all;
};

} // namespace detail

/// A record, seen in its batch, which owns what it points to.
class View {
public:
    /// The headers, in the order they were given.
    class Headers {
    public:
        class iterator {
        public:
            using iterator_category = std::input_iterator_tag;
            using value_type = Header;
            using difference_type = std::ptrdiff_t;
            using pointer = const Header *;
            using reference = const Header &;

            iterator() = default;
            explicit iterator(ringlog_bytes headers) : headers_(headers), more_(true) { ++*this; }

            reference operator*() const noexcept { return header_; }
            pointer operator->() const noexcept { return &header_; }
            iterator &operator++() {
                ringlog_bytes key{nullptr, 0}, value{nullptr, 0};
                more_ = ringlog_header_next(headers_, &cursor_, &key, &value) != 0;
                header_ = Header{detail::text(key).value_or(std::string_view()),
                                 detail::text(value)};
                return *this;
            }
            iterator operator++(int) {
                iterator before = *this;
                ++*this;
                return before;
            }
            bool operator==(const iterator &other) const noexcept { return more_ == other.more_; }
            bool operator!=(const iterator &other) const noexcept { return more_ != other.more_; }

        private:
            ringlog_bytes headers_{nullptr, 0};
            std::size_t cursor_ = 0;
            Header header_;
            bool more_ = false;
        };

        explicit Headers(ringlog_bytes headers) noexcept : headers_(headers) {}
        iterator begin() const { return iterator(headers_); }
        iterator end() const { return iterator(); }

    private:
        ringlog_bytes headers_;
    };

    View() noexcept : view_() {}
    explicit View(const ringlog_view &view) noexcept : view_(view) {}

    std::uint64_t offset() const noexcept { return view_.offset; }
    /// The partition it was read from.
    std::uint32_t partition() const noexcept { return view_.partition; }
    std::int64_t timestamp_ms() const noexcept { return view_.timestamp_ms; }
    /// Whether the timestamp is the append's, not the record's own.
    bool is_append_time() const noexcept { return (view_.flags & RINGLOG_VIEW_APPEND_TIME) != 0; }
    std::optional<std::string_view> key() const noexcept { return detail::text(view_.key); }
    std::optional<std::string_view> value() const noexcept { return detail::text(view_.value); }
    Headers headers() const noexcept { return Headers(view_.headers); }

private:
    ringlog_view view_;
};

} // namespace ringlog

#endif /* RINGLOG_RECORD_HPP */
