#pragma once

#include <cstdint>
#include <span>
namespace volley {

// A set of pages of guest memory, as bits in words of somebody else's.
class PageSet {
 public:
  static constexpr uint64_t kPagesOfWord = 64;
  static constexpr uint64_t words_for(uint64_t pages) { return (pages + kPagesOfWord - 1) / kPagesOfWord; }

  PageSet() = default;
  // `words` are those that so many pages need.
  PageSet(std::span<uint64_t> words, uint64_t pages) : words_(words), pages_(pages) {}

  std::span<uint64_t> words() const { return words_; }
  void fill();
  void clear();
  uint64_t count() const;

  struct Run {
    uint64_t first;
    uint64_t count;  // 0: there is none
  };
  // The next pages in a row from `from` on, at most `most` of them and none from `end` on.
  Run next_run(uint64_t from, uint64_t end, uint64_t most) const;

 private:
  std::span<uint64_t> words_;
  uint64_t pages_ = 0;
};

}  // namespace volley
