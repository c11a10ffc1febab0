#include "memory/write_marks.h"

#include <algorithm>

namespace volley {
namespace {

constexpr uint64_t kBits = 64;

std::atomic_ref<uint64_t> word_at(uint64_t* words, uint64_t word) { return std::atomic_ref<uint64_t>(words[word]); }

}  // namespace

void WriteMarks::begin(std::span<uint64_t> words) {
  for (uint64_t i = 0; i < words.size(); ++i) word_at(words.data(), i).store(0, std::memory_order_relaxed);
  words_.store(words.data(), std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void WriteMarks::set(uint64_t* words, uint64_t first_page, uint64_t last_page) {
  for (uint64_t page = first_page; page <= last_page;) {
    const uint64_t bit = page % kBits;
    const uint64_t count = std::min(kBits - bit, last_page - page + 1);
    const uint64_t mask = (count == kBits ? ~uint64_t{0} : (uint64_t{1} << count) - 1) << bit;
    word_at(words, page / kBits).fetch_or(mask, std::memory_order_release);
    page += count;
  }
}

uint64_t WriteMarks::take(uint64_t word) {
  uint64_t* words = words_.load(std::memory_order_relaxed);
  return words == nullptr ? 0 : word_at(words, word).exchange(0, std::memory_order_seq_cst);
}

}  // namespace volley
