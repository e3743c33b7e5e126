/* Errors, timeouts, and how the C library is called.
 * Part of `ringlog.hpp`, which says what holds for all of it. */
#ifndef RINGLOG_BASE_HPP
#define RINGLOG_BASE_HPP

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "../ringlog.h"

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

} // namespace ringlog

#endif /* RINGLOG_BASE_HPP */
