#pragma once

#include <cstdint>
#include <span>

#include "abi/volley_abi.h"

namespace volley {

// One number that the guest reports, as it lies in its buffer.
struct [[gnu::packed]] BalloonStatistic {
  uint16_t tag;
  uint64_t value;
};
static_assert(sizeof(BalloonStatistic) == 10);

// Publishes what the guest says. Tags that are not known are skipped.
void publish_statistics(volley_balloon_stats& stats, std::span<const BalloonStatistic> from, uint64_t now_ns);

}  // namespace volley
