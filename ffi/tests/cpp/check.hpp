// What every test of the C++ header shares.
#ifndef CHECK_HPP
#define CHECK_HPP

#include <cstdlib>
#include <iostream>
#include <ringlog.hpp>
#include <string>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            std::cerr << __FILE__ << ':' << __LINE__ << ": " << #condition << '\n';                \
            std::exit(1);                                                                          \
        }                                                                                          \
    } while (0)

// The call throws an error of this code, and says why.
#define THROWS(wanted, call)                                                                       \
    do {                                                                                           \
        bool thrown = false;                                                                       \
        try {                                                                                      \
            call;                                                                                  \
        } catch (const ringlog::Error &error) {                                                    \
            thrown = error.code() == (wanted) && std::string(error.what()) != "";                  \
        }                                                                                          \
        if (!thrown) {                                                                             \
            std::cerr << __FILE__ << ':' << __LINE__ << ": " << #call << ": not " << #wanted       \
                      << '\n';                                                                     \
            std::exit(1);                                                                          \
        }                                                                                          \
    } while (0)

inline ringlog_open_options small_options() {
    ringlog_open_options options = ringlog::open_options();
    options.flags = RINGLOG_OPEN_ALLOW_VOLATILE;
    options.segment_bytes = 1 << 20;
    options.ring_bytes = 256 << 10;
    return options;
}

struct Test {
    const char *name;
    void (*run)(const std::string &path);
};

#endif
