#include "balloon/page_runs.h"

#include <algorithm>

namespace volley {

void sort_pages(std::span<uint32_t> pages) { std::sort(pages.begin(), pages.end()); }

PageRun take_run(std::span<const uint32_t>* sorted) {
  if (sorted->empty()) return {0, 0};
  const uint32_t first = sorted->front();
  uint32_t last = first;
  size_t used = 1;
  while (used < sorted->size()) {
    const uint32_t next = (*sorted)[used];
    if (next != last && next != uint64_t{last} + 1) break;
    last = next;
    ++used;
  }
  *sorted = sorted->subspan(used);
  return {first, last - first + 1};
}

}  // namespace volley
