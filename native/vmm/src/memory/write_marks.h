#pragma once

#include <atomic>
#include <cstdint>
#include <span>

namespace volley {

// Which pages of guest memory this process has written: KVM's dirty log knows of the guest's writes alone. Marking is
// on only while a snapshot needs it; what it costs otherwise is a look at one pointer.
class WriteMarks {
 public:
  // From now on marks are kept in `words`, one bit for a page; none is there yet. A write that began before and is not
  // marked is complete: whoever reads memory afterwards sees it. One thread begins, takes and ends. The words stay when
  // marking ends: another thread may be at it.
  void begin(std::span<uint64_t> words);
  void end() { words_.store(nullptr, std::memory_order_seq_cst); }

  // From any thread, after the write: whoever takes the mark later sees what was written.
  void mark(uint64_t first_page, uint64_t last_page) {
    // What was written must be out before the pointer is read: begin() stores it, then memory is read.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (uint64_t* words = words_.load(std::memory_order_acquire); words != nullptr) set(words, first_page, last_page);
  }
  // The marks of pages [64 * word, 64 * word + 64), the lowest bit first. They are gone afterwards: what is written
  // from then on is marked anew.
  uint64_t take(uint64_t word);

 private:
  static void set(uint64_t* words, uint64_t first_page, uint64_t last_page);

  std::atomic<uint64_t*> words_{nullptr};
};

}  // namespace volley
