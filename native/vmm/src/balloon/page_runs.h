#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace volley {

inline constexpr uint64_t kBalloonPage = 4096;  // of the balloon's page numbers, whatever the guest's pages are

// Consecutive pages, by number.
struct PageRun {
  uint32_t first;
  uint32_t count;
};

// Sorts page numbers in place and takes the first run off them; the rest comes with the next call. An empty span gives
// a run of no pages. Numbers that come twice count once.
void sort_pages(std::span<uint32_t> pages);
PageRun take_run(std::span<const uint32_t>* sorted);

}  // namespace volley
