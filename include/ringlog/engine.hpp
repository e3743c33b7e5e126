/* An open data directory.
 * Part of `ringlog.hpp`, which says what holds for all of it. */
#ifndef RINGLOG_ENGINE_HPP
#define RINGLOG_ENGINE_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base.hpp"
#include "queue.hpp"
#include "topic.hpp"

namespace ringlog {

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
    /// As `flush`, without waiting: `queue` gives the outcome under `tag`.
    void submit_flush(CompletionQueue &queue, std::uint64_t tag) {
        detail::check([&](ringlog_error **error) {
            return ringlog_submit_flush(engine_.get(), queue.get(), tag, error);
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

#endif /* RINGLOG_ENGINE_HPP */
