// A disk that is a file, writable or not.
#include "config/device_config.h"
#include "support/block_script.h"
#include "support/descriptors.h"

namespace volley::fuzz {
namespace {

constexpr uint64_t kDiskBytes = 256 * 1024;
// The file goes on behind the disk, where the guest has no business.
constexpr uint64_t kFileBytes = kDiskBytes + 64 * 1024;

}  // namespace

void run(Script& script) {
  const DescriptorScope descriptors(true);
  restart_time();
  const uint8_t how = script.byte();
  volley_device config{};
  config.type = VOLLEY_DEVICE_BLOCK;
  config.size = (how & 1) != 0 ? kDiskBytes - kSectorBytes : kDiskBytes;
  config.flags = (how & 2) != 0 ? VOLLEY_BLOCK_READ_ONLY : 0;
  if ((how & 4) != 0) config.limits[0].operations = {.size = 3, .burst = 1, .refill_ms = 10};
  if ((how & 8) != 0) config.limits[0].bytes = {.size = 4096, .burst = 0, .refill_ms = 10};
  memcpy(config.serial, "volley-fuzz", 11);
  BoundedFile file(kFileBytes, (how & 2) != 0 ? 0 : config.size);
  InheritedFds fds;
  demand(fds.add(device_role(0), file.fd()), "the table of descriptors is full");
  {
    VirtioBench bench(VOLLEY_DEVICE_BLOCK, config, fds);
    demand(bench.is_open(), "a disk that is as it should be was refused");
    BlockScript requests({&file});
    bench.run(script, requests);
  }
  demand(file.size() == kFileBytes, "the file of a disk has another size than before");
}
}  // namespace volley::fuzz
