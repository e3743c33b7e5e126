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

#include "ringlog/base.hpp"
#include "ringlog/batch.hpp"
#include "ringlog/engine.hpp"
#include "ringlog/queue.hpp"
#include "ringlog/reader.hpp"
#include "ringlog/record.hpp"
#include "ringlog/send.hpp"
#include "ringlog/topic.hpp"

#endif /* RINGLOG_HPP */
