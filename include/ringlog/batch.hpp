/* What a reader gives.
 * Part of `ringlog.hpp`, which says what holds for all of it. */
#ifndef RINGLOG_BATCH_HPP
#define RINGLOG_BATCH_HPP

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base.hpp"
#include "record.hpp"

namespace ringlog {

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
    /// The partition that a record batch was read from.
    std::uint32_t partition(std::size_t part = 0) const {
        return detail::get<std::uint32_t>([&](auto *partition, ringlog_error **error) {
            return ringlog_batch_partition(batch_.get(), part, partition, error);
        });
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

} // namespace ringlog

#endif /* RINGLOG_BATCH_HPP */
