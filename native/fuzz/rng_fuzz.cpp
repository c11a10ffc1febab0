// The source of random numbers.
#include "support/descriptors.h"
#include "support/virtio_bench.h"

namespace volley::fuzz {
namespace {

class RngScript final : public DeviceScript {
 public:
  std::vector<Piece> request(Script& script, VirtioBench& bench, uint32_t) override {
    std::vector<Piece> pieces;
    for (uint32_t count = 1 + script.choice(4); count != 0; --count) {
      const uint64_t at = bench.address(script);
      pieces.push_back({at, bench.length(script), true});
    }
    return pieces;
  }
  void host(Script& script, VirtioBench& bench) override { bench.set_limit(script, 1); }
};

}  // namespace

void run(Script& script) {
  const DescriptorScope descriptors(true);
  restart_time();
  volley_device config{};
  config.type = VOLLEY_DEVICE_RNG;
  if (script.flag()) config.limits[0].bytes = {.size = 4096, .burst = 0, .refill_ms = 10};
  VirtioBench bench(VOLLEY_DEVICE_RNG, config, {});
  demand(bench.is_open(), "a source of random numbers was refused");
  RngScript requests;
  bench.run(script, requests);
}
}  // namespace volley::fuzz
