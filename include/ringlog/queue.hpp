/* Submissions and what came of them.
 * Part of `ringlog.hpp`, which says what holds for all of it. */
#ifndef RINGLOG_QUEUE_HPP
#define RINGLOG_QUEUE_HPP

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base.hpp"
#include "batch.hpp"
#include "reader.hpp"

namespace ringlog {

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
    /// As above, of all partitions of a topic.
    void submit_read(TopicReader &reader, std::uint64_t tag) {
        detail::check([&](ringlog_error **error) {
            return ringlog_submit_topic_read(reader.get(), queue_.get(), tag, error);
        });
    }
    ringlog_cq *get() const noexcept { return queue_.get(); }

private:
    detail::Handle<ringlog_cq, ringlog_cq_free> queue_;
};

} // namespace ringlog

#endif /* RINGLOG_QUEUE_HPP */
