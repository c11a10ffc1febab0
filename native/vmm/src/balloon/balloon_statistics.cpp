#include "balloon/balloon_statistics.h"

#include <linux/virtio_balloon.h>

#include "stats/page_file.h"

namespace volley {
namespace {

uint64_t* field(volley_balloon_stats& stats, uint16_t tag) {
  switch (tag) {
    case VIRTIO_BALLOON_S_SWAP_IN:
      return &stats.swap_in;
    case VIRTIO_BALLOON_S_SWAP_OUT:
      return &stats.swap_out;
    case VIRTIO_BALLOON_S_MAJFLT:
      return &stats.major_faults;
    case VIRTIO_BALLOON_S_MINFLT:
      return &stats.minor_faults;
    case VIRTIO_BALLOON_S_MEMFREE:
      return &stats.free_memory;
    case VIRTIO_BALLOON_S_MEMTOT:
      return &stats.total_memory;
    case VIRTIO_BALLOON_S_AVAIL:
      return &stats.available_memory;
    case VIRTIO_BALLOON_S_CACHES:
      return &stats.disk_caches;
    default:
      return nullptr;
  }
}

}  // namespace

void publish_statistics(volley_balloon_stats& stats, std::span<const BalloonStatistic> from, uint64_t now_ns) {
  for (const BalloonStatistic& statistic : from) {
    if (uint64_t* target = field(stats, statistic.tag); target != nullptr) publish(*target, statistic.value);
  }
  publish(stats.updated_ns, now_ns);
}

}  // namespace volley
