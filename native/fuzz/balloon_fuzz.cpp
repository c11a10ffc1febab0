// The balloon: lists of pages, free pages, statistics, targets.
#include "balloon/balloon_statistics.h"
#include "memory/layout.h"
#include "support/descriptors.h"
#include "support/virtio_bench.h"

namespace volley::fuzz {
namespace {

class BalloonScript final : public DeviceScript {
 public:
  std::vector<Piece> request(Script& script, VirtioBench& bench, uint32_t queue) override {
    const uint8_t how = script.byte();
    if (queue >= 2 && (how & 128) != 0) {  // every statistic that there is, and some that there are not
      std::vector<BalloonStatistic> statistics;
      for (uint16_t count = script.byte() % 40; count != 0; --count) {
        statistics.push_back({.tag = count, .value = script.take<uint16_t>()});
      }
      if (statistics.empty()) return {};
      const size_t bytes = statistics.size() * sizeof(BalloonStatistic);
      return {{bench.put(statistics.data(), bytes), static_cast<uint32_t>(bytes), false}};
    }
    if (queue >= 2) {  // free pages, or anything else
      const uint64_t at = bench.address(script) & ((how & 1) != 0 ? ~4095ull : ~0ull);
      return {{at, bench.length(script), (how & 2) != 0}};
    }
    // Page numbers: near others, near the ends of memory, anywhere.
    std::vector<uint32_t> pages;
    uint32_t last = 0;
    for (uint32_t count = 1 + script.choice(64); count != 0; --count) {
      const uint8_t step = script.byte();
      if (step < 192) last += step & 3;
      if (step >= 192 && step < 208) last = script.take<uint16_t>();
      if (step >= 208 && step < 224) last = static_cast<uint32_t>(kMmioGapStart >> 12) - (step & 15);
      if (step >= 224 && step < 240) last = static_cast<uint32_t>(kMmioGapEnd >> 12) + (step & 15) * 4;
      if (step >= 240) last = script.take<uint32_t>();
      pages.push_back(last);
    }
    const auto bytes = static_cast<uint32_t>(pages.size() * sizeof(uint32_t)) - (how & 3u);
    const uint64_t at = bench.put(pages.data(), pages.size() * sizeof(uint32_t));
    if ((how & 4) == 0) return {{at, bytes, false}};
    // More than a request may have, from anywhere.
    const uint64_t more = bench.address(script);
    return {{at, bytes, false}, {more, bench.length(script), false}};
  }

  void host(Script& script, VirtioBench& bench) override {
    volley_message message{};
    message.type = script.flag() ? VOLLEY_CMD_SET_BALLOON : VOLLEY_CMD_VSOCK_ANSWER;
    message.payload.bytes = script.flag() ? script.take<uint64_t>() : script.take<uint16_t>() * 4096ull;
    UniqueFd nothing;
    bench.command(message, nothing);
    demand(bench.stats().balloon.target <= bench.memory().size(), "a balloon larger than the guest");
  }
};

}  // namespace

void run(Script& script) {
  const DescriptorScope descriptors(true);
  restart_time();
  const uint8_t how = script.byte();
  volley_device config{};
  config.type = VOLLEY_DEVICE_BALLOON;
  config.flags = how & (VOLLEY_BALLOON_DEFLATE_ON_OOM | VOLLEY_BALLOON_REPORTING | VOLLEY_BALLOON_STATISTICS);
  if ((config.flags & VOLLEY_BALLOON_STATISTICS) != 0) config.stats_interval_ms = how >> 3 & 7;
  config.size = (how >> 6) * 1024ull * 1024;
  VirtioBench bench(VOLLEY_DEVICE_BALLOON, config, {});
  demand(bench.is_open(), "a balloon was refused");
  BalloonScript requests;
  bench.run(script, requests);
}
}  // namespace volley::fuzz
