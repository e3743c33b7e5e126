/* Record batches by their place in files, and senders of them.
 * Part of `ringlog.hpp`, which says what holds for all of it. */
#ifndef RINGLOG_SEND_HPP
#define RINGLOG_SEND_HPP

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base.hpp"

namespace ringlog {

/// One piece of `Extents`: a range of a file, or bytes in memory. Both belong to the extents.
class Extent {
public:
    explicit Extent(const ringlog_extent &extent) noexcept : extent_(extent) {}

    bool is_file() const noexcept { return extent_.fd >= 0; }
    /// The file, open for reading only: do not close it. -1 of a piece in memory.
    int fd() const noexcept { return extent_.fd; }
    /// Its first byte in the file.
    std::uint64_t offset() const noexcept { return extent_.offset; }
    /// Its length in bytes.
    std::uint64_t size() const noexcept { return extent_.len; }
    /// Its bytes; empty of a piece in a file.
    std::string_view memory() const noexcept {
        if (extent_.memory == nullptr) {
            return std::string_view();
        }
        return std::string_view(reinterpret_cast<const char *>(extent_.memory),
                                static_cast<std::size_t>(extent_.len));
    }

private:
    ringlog_extent extent_;
};

/// Where whole record batches of a partition lie: a range of `Extent`. Immutable, thread-safe;
/// until it goes the files are used for nothing else.
class Extents {
public:
    /// Takes over a handle of the C library.
    Extents(ringlog_extents *extents, std::uint64_t next_offset)
        : extents_(extents), next_offset_(next_offset) {
        std::vector<ringlog_extent> raw(ringlog_extents_len(extents));
        std::size_t count = 0;
        detail::check([&](ringlog_error **error) {
            return ringlog_extents_get(extents, 0, raw.data(), raw.size(), sizeof(ringlog_extent),
                                       &count, error);
        });
        pieces_.reserve(count);
        for (std::size_t at = 0; at < count; at++) {
            pieces_.emplace_back(raw[at]);
        }
    }

    /// Where to go on: where it began, if there was nothing.
    std::uint64_t next_offset() const noexcept { return next_offset_; }
    std::size_t size() const noexcept { return pieces_.size(); }
    std::vector<Extent>::const_iterator begin() const noexcept { return pieces_.begin(); }
    std::vector<Extent>::const_iterator end() const noexcept { return pieces_.end(); }
    ringlog_extents *get() const noexcept { return extents_.get(); }

private:
    detail::Handle<ringlog_extents, ringlog_extents_free> extents_;
    std::uint64_t next_offset_;
    std::vector<Extent> pieces_;
};

/// What a sender has sent.
struct Sent {
    /// The offset after the last record batch that was sent whole, by this call or before.
    std::uint64_t next_offset;
    /// Bytes taken by the descriptor in this call.
    std::uint64_t bytes;
    /// Everything asked for was sent; if not, the next call goes on with the rest.
    bool complete;
};

/// Sends the record batches of a partition one after the other, keeping its place. One thread at a
/// time.
class Sender {
public:
    explicit Sender(ringlog_sender *sender) noexcept : sender_(sender) {}

    /// Sends what a call before has left, then up to `max_bytes`, to a socket, a pipe or a file:
    /// see `ringlog_sender_send`.
    Sent send(int fd, std::uint64_t max_bytes, Timeout timeout = Timeout::none()) {
        const ringlog_sent sent = detail::get<ringlog_sent>([&](auto *to, ringlog_error **error) {
            return ringlog_sender_send(sender_.get(), fd, max_bytes, timeout.ns(), to, sizeof *to,
                                       error);
        });
        return Sent{sent.next_offset, sent.bytes, sent.complete != 0};
    }
    ringlog_sender *get() const noexcept { return sender_.get(); }

private:
    detail::Handle<ringlog_sender, ringlog_sender_free> sender_;
};

} // namespace ringlog

#endif /* RINGLOG_SEND_HPP */
