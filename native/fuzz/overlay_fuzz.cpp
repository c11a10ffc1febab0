// A disk whose writes go to an overlay, from the guest's side.
#include "block/overlay_format.h"
#include "support/block_script.h"
#include "support/descriptors.h"

namespace volley::fuzz {
namespace {

constexpr uint64_t kBaseBytes = 3 * kClusterBytes + 4096 + 512;
constexpr uint64_t kDiskBytes = 5 * kClusterBytes + 1024;

}  // namespace

void run(Script& script) {
  const DescriptorScope descriptors(true);
  restart_time();
  volley_device config{};
  config.type = VOLLEY_DEVICE_BLOCK;
  config.size = kDiskBytes;
  config.flags = VOLLEY_BLOCK_OVERLAY;
  if (script.flag()) config.limits[0].bytes = {.size = 65536, .burst = 0, .refill_ms = 10};
  BoundedFile base(kBaseBytes, 0);
  BoundedFile overlay(0, overlay_file_bytes(kDiskBytes));
  InheritedFds fds;
  demand(fds.add(device_role(0), base.fd()) && fds.add(overlay_role(0), overlay.fd()), "no room for descriptors");
  {
    VirtioBench bench(VOLLEY_DEVICE_BLOCK, config, fds);
    demand(bench.is_open(), "an empty overlay was refused");
    BlockScript requests({&overlay, &base});
    bench.run(script, requests);
  }
  demand(overlay.size() == overlay_file_bytes(kDiskBytes), "the overlay has another size than it says");
  // A lock of the same open file would be no obstacle, so this is what the next start finds.
  overlay.fail_with(0);
  base.fail_with(0);
  VirtioBench again(VOLLEY_DEVICE_BLOCK, config, fds);
  demand(again.is_open(), "an overlay that was only used is refused the next time");
}
}  // namespace volley::fuzz
