/*
 * Ringlog for C++17 and later: `ringlog.h` with owners, exceptions and ranges. Header-only; link with
 * the C library.
 *
 * Handles are move-only and free themselves; a moved-from one may only be assigned to or destroyed.
 * What fails throws `ringlog::Error`; nothing else does, but for `std::bad_alloc`. Text and bytes
 * are `std::string_view`; one that is absent is an empty `std::optional`. A view must not outlive
 * the batch that it was taken from. Threads, blocking and errors are as `ringlog.h` says.
 */
#ifndef RINGLOG_HPP
#define RINGLOG_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ringlog.h"

namespace ringlog {

/// What went wrong, and what can be done about it.
class Error : public std::runtime_error {
public:
    Error(ringlog_status code, std::uint32_t flags, int system, const std::string &message)
        : std::runtime_error(message), code_(code), flags_(flags), system_(system) {}

    /// `RINGLOG_E_*`.
    ringlog_status code() const noexcept { return code_; }
    /// The name of the code.
    const char *name() const noexcept { return ringlog_status_name(code_); }
    /// The same call may succeed later without anything else being done.
    bool is_retriable() const noexcept { return has(RINGLOG_ERROR_RETRIABLE); }
    /// Nothing will succeed until the engine is opened again, or the data restored.
    bool is_fatal() const noexcept { return has(RINGLOG_ERROR_FATAL); }
    /// An append that failed with this may nevertheless be, or become, part of the log.
    bool outcome_is_unknown() const noexcept { return has(RINGLOG_ERROR_OUTCOME_UNKNOWN); }
    /// A fault of the library itself.
    bool is_panic() const noexcept { return has(RINGLOG_ERROR_PANIC); }
    /// The system's error number behind it, or 0.
    int system_error() const noexcept { return system_; }

private:
    bool has(std::uint32_t flag) const noexcept { return (flags_ & flag) != 0; }

    ringlog_status code_;
    std::uint32_t flags_;
    int system_;
};

/// A timeout: a duration, or one of the two names.
class Timeout {
public:
    /// Negative durations count as none.
    template <class Rep, class Period>
    Timeout(std::chrono::duration<Rep, Period> duration)
        : ns_(std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count()) {
        if (ns_ < 0) {
            ns_ = 0;
        }
    }

    /// As long as it takes.
    static Timeout forever() noexcept { return Timeout(std::int64_t{RINGLOG_FOREVER}); }
    /// What the engine's options say.
    static Timeout standard() noexcept { return Timeout(std::int64_t{RINGLOG_DEFAULT_TIMEOUT}); }
    /// Not at all.
    static Timeout none() noexcept { return Timeout(std::int64_t{0}); }

    std::int64_t ns() const noexcept { return ns_; }

private:
    explicit Timeout(std::int64_t ns) noexcept : ns_(ns) {}

    std::int64_t ns_;
};

namespace detail {

/// Takes over an error object and gives what it says.
inline Error take(ringlog_status status, ringlog_error *error) {
    std::unique_ptr<ringlog_error, void (*)(ringlog_error *)> owner(error, ringlog_error_free);
    return Error(status, ringlog_error_flags(error), ringlog_error_errno(error),
                 error == nullptr ? ringlog_status_name(status) : ringlog_error_message(error));
}

/// Calls with a place for the error, and throws it.
template <class Call> void check(Call call) {
    ringlog_error *error = nullptr;
    const ringlog_status status = call(&error);
    if (status != RINGLOG_OK) {
        throw take(status, error);
    }
}

/// As `check`, with a place for what the call gives, and gives it.
template <class T, class Call> T get(Call call) {
    T out{};
    check([&](ringlog_error **error) { return call(&out, error); });
    return out;
}

template <class T, void (*Free)(T *)> struct Freer {
    void operator()(T *handle) const noexcept { Free(handle); }
};

template <class T, void (*Free)(T *)> using Handle = std::unique_ptr<T, Freer<T, Free>>;

inline ringlog_bytes bytes(std::string_view text) noexcept {
    // An empty view may have no pointer, which would make it absent.
    return {text.data() == nullptr ? "" : text.data(), text.size()};
}

inline ringlog_bytes bytes(const std::optional<std::string_view> &text) noexcept {
    return text ? bytes(*text) : ringlog_bytes{nullptr, 0};
}

inline std::optional<std::string_view> text(ringlog_bytes bytes) noexcept {
    if (bytes.ptr == nullptr) {
        return std::nullopt;
    }
    return std::string_view(static_cast<const char *>(bytes.ptr), bytes.len);
}

inline std::string take(ringlog_text *text) {
    Handle<ringlog_text, ringlog_text_free> owner(text);
    return std::string(ringlog_text_ptr(text), ringlog_text_len(text));
}

} // namespace detail

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
    /// `RINGLOG_APPEND_*` added up.
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
    std::int64_t timestamp_ms() const noexcept { return view_.timestamp_ms; }
    /// Whether the timestamp is the append's, not the record's own.
    bool is_append_time() const noexcept { return (view_.flags & RINGLOG_VIEW_APPEND_TIME) != 0; }
    std::optional<std::string_view> key() const noexcept { return detail::text(view_.key); }
    std::optional<std::string_view> value() const noexcept { return detail::text(view_.value); }
    Headers headers() const noexcept { return Headers(view_.headers); }

private:
    ringlog_view view_;
};

/// Record batches, as a reader gave them: a range of `View`. Keeps its memory beyond its reader and
/// the engine's close.
class Batch {
public:
    class iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = View;
        using difference_type = std::ptrdiff_t;
        using pointer = const View *;
        using reference = const View &;

        iterator() = default;
        explicit iterator(const ringlog_batch *batch)
            : batch_(batch), views_(std::make_shared<std::vector<ringlog_view>>()) {
            const std::size_t len = ringlog_batch_len(batch);
            views_->resize(len < portion ? len : portion);
            fill();
        }

        reference operator*() const noexcept { return view_; }
        pointer operator->() const noexcept { return &view_; }
        iterator &operator++() {
            if (++at_ < count_) {
                view_ = View((*views_)[at_]);
            } else {
                fill();
            }
            return *this;
        }
        iterator operator++(int) {
            iterator before = *this;
            ++*this;
            return before;
        }
        bool operator==(const iterator &other) const noexcept { return batch_ == other.batch_; }
        bool operator!=(const iterator &other) const noexcept { return batch_ != other.batch_; }

    private:
        static constexpr std::size_t portion = 64;

        void fill() {
            next_ += count_;
            at_ = 0;
            count_ = 0;
            if (!views_->empty()) {
                detail::check([&](ringlog_error **error) {
                    return ringlog_batch_views(batch_, next_, views_->data(), views_->size(),
                                               sizeof(ringlog_view), &count_, error);
                });
            }
            if (count_ == 0) {
                batch_ = nullptr;
            } else {
                view_ = View(views_->front());
            }
        }

        const ringlog_batch *batch_ = nullptr;
        std::shared_ptr<std::vector<ringlog_view>> views_;
        std::size_t next_ = 0, at_ = 0, count_ = 0;
        View view_;
    };

    /// Takes over a handle of the C library.
    explicit Batch(ringlog_batch *batch) noexcept : batch_(batch) {}

    std::size_t size() const noexcept { return ringlog_batch_len(batch_.get()); }
    iterator begin() const { return iterator(batch_.get()); }
    iterator end() const noexcept { return iterator(); }

    /// How many record batches it holds.
    std::size_t parts() const noexcept { return ringlog_batch_parts(batch_.get()); }
    /// A record batch: a whole Kafka RecordBatch v2.
    std::string_view bytes(std::size_t part = 0) const {
        ringlog_bytes bytes{nullptr, 0};
        detail::check([&](ringlog_error **error) {
            return ringlog_batch_bytes(batch_.get(), part, &bytes, error);
        });
        return detail::text(bytes).value_or(std::string_view());
    }
    /// All records as columns, copied, over Arrow's C data interface: see `ringlog_batch_to_arrow`.
    void to_arrow(struct ArrowSchema *schema, struct ArrowArray *array) const {
        detail::check([&](ringlog_error **error) {
            return ringlog_batch_to_arrow(batch_.get(), schema, array, error);
        });
    }
    /// Another owner of the same memory.
    Batch share() const noexcept { return Batch(ringlog_batch_ref(batch_.get())); }
    ringlog_batch *get() const noexcept { return batch_.get(); }

private:
    detail::Handle<ringlog_batch, ringlog_batch_free> batch_;
};

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

/// Reads one partition, one thread at a time. As a range it gives batch after batch, and ends where
/// the partition ends now.
class Reader {
public:
    /// Bytes that one step of the range takes together, about.
    static constexpr std::size_t range_bytes = 64 * 1024;

    class iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = Batch;
        using difference_type = std::ptrdiff_t;
        using pointer = const Batch *;
        using reference = const Batch &;

        iterator() = default;
        iterator(Reader *reader, Timeout timeout) : reader_(reader), timeout_(timeout) { ++*this; }

        reference operator*() const noexcept { return *batch_; }
        pointer operator->() const noexcept { return batch_.get(); }
        iterator &operator++() {
            std::optional<Batch> next = reader_->next(timeout_, range_bytes);
            batch_ = next ? std::make_shared<Batch>(std::move(*next)) : nullptr;
            return *this;
        }
        void operator++(int) { ++*this; }
        bool operator==(const iterator &other) const noexcept { return batch_ == other.batch_; }
        bool operator!=(const iterator &other) const noexcept { return batch_ != other.batch_; }

    private:
        Reader *reader_ = nullptr;
        Timeout timeout_ = Timeout::none();
        std::shared_ptr<Batch> batch_;
    };

    /// See `Reader::follow`.
    class Following {
    public:
        Following(Reader &reader, Timeout timeout) : reader_(&reader), timeout_(timeout) {}
        iterator begin() const { return iterator(reader_, timeout_); }
        iterator end() const { return iterator(); }

    private:
        Reader *reader_;
        Timeout timeout_;
    };

    explicit Reader(ringlog_reader *reader) noexcept : reader_(reader) {}

    /// What comes next; none if nothing came in time. `max_bytes` as of `ringlog_reader_next`.
    std::optional<Batch> next(Timeout timeout = Timeout::none(), std::size_t max_bytes = 0) {
        ringlog_batch *batch = nullptr;
        detail::check([&](ringlog_error **error) {
            return ringlog_reader_next(reader_.get(), max_bytes, timeout.ns(), &batch, error);
        });
        if (batch == nullptr) {
            return std::nullopt;
        }
        return Batch(batch);
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

class CompletionQueue;

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
    inline void submit_append(CompletionQueue &queue, const Record &record, std::uint64_t tag,
                              std::uint32_t flags = 0);

    Reader reader(Start start = Start::earliest(), std::uint32_t flags = 0) const {
        return Reader(detail::get<ringlog_reader *>([&](auto *reader, ringlog_error **error) {
            return ringlog_reader_open(stream_.get(), start.start(), start.at(), flags, reader,
                                       error);
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
        const detail::Raw raw(&record, 1);
        return detail::get<ringlog_record_id>([&](auto *id, ringlog_error **error) {
            return ringlog_topic_append(topic_.get(), raw.all.data(), 1, sizeof(ringlog_record),
                                        options.flags, options.timeout.ns(), id, sizeof *id, error);
        });
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
    detail::Handle<ringlog_topic, ringlog_topic_free> topic_;
};

/// What came of a submission.
class Completion {
public:
    explicit Completion(const ringlog_completion &raw)
        : raw_(raw), batch_(raw.batch) {
        if (raw.status != RINGLOG_OK) {
            error_ = detail::take(raw.status, raw.error);
        }
    }

    std::uint64_t tag() const noexcept { return raw_.tag; }
    /// `RINGLOG_OP_*`.
    std::uint32_t op() const noexcept { return raw_.op; }
    std::uint32_t partition() const noexcept { return raw_.partition; }
    std::uint64_t first_offset() const noexcept { return raw_.first_offset; }
    std::uint64_t last_offset() const noexcept { return raw_.last_offset; }
    bool ok() const noexcept { return !error_; }
    /// What went wrong, if something did.
    const std::optional<Error> &error() const noexcept { return error_; }
    /// Throws what went wrong.
    void check() const {
        if (error_) {
            throw *error_;
        }
    }
    /// What was read.
    const Batch &batch() const noexcept { return batch_; }

private:
    ringlog_completion raw_;
    Batch batch_;
    std::optional<Error> error_;
};

/// A completion queue: any thread submits, one at a time polls.
class CompletionQueue {
public:
    explicit CompletionQueue(ringlog_cq *queue) noexcept : queue_(queue) {}

    /// Takes what has completed, `max` at most; nothing after the timeout or `wake`.
    std::vector<Completion> poll(Timeout timeout = Timeout::forever(), std::size_t max = 256) {
        std::vector<ringlog_completion> raw(max);
        std::vector<Completion> done;
        done.reserve(max);
        std::size_t count = 0;
        detail::check([&](ringlog_error **error) {
            return ringlog_cq_poll(queue_.get(), raw.data(), raw.size(), sizeof(ringlog_completion),
                                   timeout.ns(), &count, error);
        });
        for (std::size_t at = 0; at < count; at++) {
            done.emplace_back(raw[at]);
        }
        return done;
    }
    /// A descriptor for an event loop: readable while there may be completions.
    int fd() const {
        int fd = -1;
        detail::check(
            [&](ringlog_error **error) { return ringlog_cq_fd(queue_.get(), &fd, error); });
        return fd;
    }
    /// Ends a poll, from anywhere.
    void wake() const noexcept { ringlog_cq_wake(queue_.get()); }
    /// Asks for the next batch of a reader, which must live until its completion.
    void submit_read(Reader &reader, std::uint64_t tag) {
        detail::check([&](ringlog_error **error) {
            return ringlog_submit_read(reader.get(), queue_.get(), tag, error);
        });
    }
    ringlog_cq *get() const noexcept { return queue_.get(); }

private:
    detail::Handle<ringlog_cq, ringlog_cq_free> queue_;
};

inline void Stream::submit_append(CompletionQueue &queue, const Record &record, std::uint64_t tag,
                                  std::uint32_t flags) {
    const detail::Raw raw(&record, 1);
    detail::check([&](ringlog_error **error) {
        return ringlog_submit_append(stream_.get(), queue.get(), raw.all.data(), 1,
                                     sizeof(ringlog_record), flags, tag, error);
    });
}

/// How an engine is opened; all zeroes but the size.
inline ringlog_open_options open_options() noexcept {
    ringlog_open_options options{};
    options.size = sizeof options;
    return options;
}

/// What a new topic shall be; all zeroes but the size.
inline ringlog_topic_options topic_options() noexcept {
    ringlog_topic_options options{};
    options.size = sizeof options;
    return options;
}

/// An open data directory. Thread-safe.
class Engine {
public:
    explicit Engine(const std::string &path,
                    const ringlog_open_options &options = open_options()) {
        ringlog_engine *engine = nullptr;
        detail::check([&](ringlog_error **error) {
            return ringlog_open(path.c_str(), &options, &engine, error);
        });
        engine_.reset(engine);
    }

    /// Flushes everything and leaves a clean end. The destructor does so, too, but cannot say what
    /// went wrong.
    void close(Timeout timeout = Timeout::standard()) {
        detail::check([&](ringlog_error **error) {
            return ringlog_close(engine_.get(), timeout.ns(), error);
        });
    }
    /// Makes durable whatever has been appended up to now.
    void flush(Timeout timeout = Timeout::standard()) {
        detail::check([&](ringlog_error **error) {
            return ringlog_flush(engine_.get(), timeout.ns(), error);
        });
    }
    Topic create_topic(const std::string &name,
                       const ringlog_topic_options &options = topic_options()) {
        return Topic(detail::get<ringlog_topic *>([&](auto *topic, ringlog_error **error) {
            return ringlog_topic_create(engine_.get(), name.c_str(), &options, topic, error);
        }));
    }
    Topic topic(const std::string &name) const {
        return Topic(detail::get<ringlog_topic *>([&](auto *topic, ringlog_error **error) {
            return ringlog_topic_open(engine_.get(), name.c_str(), topic, error);
        }));
    }
    Topic open_or_create_topic(const std::string &name,
                               const ringlog_topic_options &options = topic_options()) {
        return Topic(detail::get<ringlog_topic *>([&](auto *topic, ringlog_error **error) {
            return ringlog_topic_open_or_create(engine_.get(), name.c_str(), &options, topic,
                                                error);
        }));
    }
    void delete_topic(const std::string &name) {
        detail::check([&](ringlog_error **error) {
            return ringlog_topic_delete(engine_.get(), name.c_str(), error);
        });
    }
    /// The names of all topics.
    std::vector<std::string> topics() const {
        ringlog_topic_list *list = nullptr;
        detail::check([&](ringlog_error **error) {
            return ringlog_topic_list_new(engine_.get(), &list, error);
        });
        detail::Handle<ringlog_topic_list, ringlog_topic_list_free> owner(list);
        std::vector<std::string> names;
        for (std::size_t at = 0; at < ringlog_topic_list_len(list); at++) {
            ringlog_topic_info info{};
            detail::check([&](ringlog_error **error) {
                return ringlog_topic_list_get(list, at, &info, sizeof info, error);
            });
            names.emplace_back(info.name);
        }
        return names;
    }
    CompletionQueue completion_queue(std::size_t capacity) const {
        return CompletionQueue(detail::get<ringlog_cq *>([&](auto *queue, ringlog_error **error) {
            return ringlog_cq_new(engine_.get(), capacity, queue, error);
        }));
    }
    std::uint32_t shards() const noexcept { return ringlog_shards(engine_.get()); }
    /// Turns a shard once, of an engine opened with `RINGLOG_OPEN_CALLER_DRIVEN`.
    void run_once(std::uint32_t shard = 0, Timeout timeout = Timeout::none()) {
        detail::check([&](ringlog_error **error) {
            return ringlog_run_once(engine_.get(), shard, timeout.ns(), error);
        });
    }
    /// Readable when `run_once` has something to do; the engine's.
    int poll_fd(std::uint32_t shard = 0) const {
        int fd = -1;
        detail::check([&](ringlog_error **error) {
            return ringlog_poll_fd(engine_.get(), shard, &fd, error);
        });
        return fd;
    }
    std::string stats_json() const {
        ringlog_text *text = nullptr;
        detail::check([&](ringlog_error **error) {
            return ringlog_stats_json(engine_.get(), &text, error);
        });
        return detail::take(text);
    }
    /// The counters as Prometheus text.
    std::string metrics_prometheus() const {
        ringlog_text *text = nullptr;
        detail::check([&](ringlog_error **error) {
            return ringlog_metrics_prometheus(engine_.get(), &text, error);
        });
        return detail::take(text);
    }
    std::string capabilities_json() const {
        ringlog_text *text = nullptr;
        detail::check([&](ringlog_error **error) {
            return ringlog_capabilities_json(engine_.get(), &text, error);
        });
        return detail::take(text);
    }
    ringlog_engine *get() const noexcept { return engine_.get(); }

private:
    detail::Handle<ringlog_engine, ringlog_engine_free> engine_;
};

} // namespace ringlog

#endif /* RINGLOG_HPP */
