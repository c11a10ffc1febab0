#include "snapshot/page_set.h"

#include <algorithm>
#include <bit>

namespace volley {

void PageSet::fill() {
  std::ranges::fill(words(), ~uint64_t{0});
  if (const uint64_t rest = pages_ % kPagesOfWord; rest != 0) words().back() = (uint64_t{1} << rest) - 1;
}

void PageSet::clear() { std::ranges::fill(words(), 0); }

uint64_t PageSet::count() const {
  uint64_t sum = 0;
  for (const uint64_t word : words()) sum += static_cast<uint64_t>(std::popcount(word));
  return sum;
}

PageSet::Run PageSet::next_run(uint64_t from, uint64_t end, uint64_t most) const {
  end = std::min(end, pages_);
  while (from < end) {
    const uint64_t rest = words()[from / kPagesOfWord] >> from % kPagesOfWord;
    if (rest == 0) {
      from = (from / kPagesOfWord + 1) * kPagesOfWord;
      continue;
    }
    from += static_cast<uint64_t>(std::countr_zero(rest));
    break;
  }
  Run run{from, 0};
  for (uint64_t page = from; page < end && run.count < most; ++page, ++run.count) {
    if ((words()[page / kPagesOfWord] >> page % kPagesOfWord & 1) == 0) break;
  }
  return run;
}

}  // namespace volley
