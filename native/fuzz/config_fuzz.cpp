// The configuration in the page file: checked, and where it is found valid, the whole machine built after it.
#include <algorithm>

#include "config/config.h"
#include "support/descriptors.h"
#include "support/guarded_mappings.h"
#include "support/sample_config.h"
#include "support/sample_machine.h"
#include "support/script.h"
#include "support/virtual_time.h"

namespace volley::fuzz {
namespace {

// More than this takes time for nothing.
constexpr uint64_t kMemoryAtMost = 8ull << 30;

void check(const volley_config& config) {
  demand(config.device_count <= VOLLEY_MAX_DEVICES && config.vcpus >= 1 && config.vcpus <= VOLLEY_MAX_VCPUS,
         "a valid configuration has more than there is room for");
  demand(config.memory_bytes >= kMinGuestMemory && config.memory_bytes <= kMaxGuestMemory, "too much memory");
  demand(memchr(config.id, 0, sizeof(config.id)) != nullptr, "a name without an end");
  demand(config.cmdline_length < VOLLEY_CMDLINE_MAX && config.cmdline[config.cmdline_length] == 0, "a command line");
  demand(config.kernel_size <= config.memory_bytes && config.initrd_size <= config.memory_bytes, "too much to load");
}

}  // namespace

void run(Script& script) {
  // Any bytes at all, or a configuration with some of its bytes changed: the way past the first check.
  volley_config config;
  if (script.flag()) {
    config = script.take<volley_config>();
  } else {
    config = sample_config();
    for (uint8_t changes = script.byte() % 16; changes != 0; --changes) {
      const size_t at = script.take<uint16_t>() % sizeof(config);
      const auto change = script.bytes(script.byte() % 16);
      std::copy_n(change.begin(), std::min(change.size(), sizeof(config) - at),
                  reinterpret_cast<uint8_t*>(&config) + at);
    }
  }
  if (!validate_config(config).is_ok()) return;
  check(config);
  if (config.memory_bytes > kMemoryAtMost || config.device_count > 6) return;
  {
    const DescriptorScope descriptors(false);
    restart_time();
    const uint8_t kernel[kSampleKernelBytes] = {};
    const auto sample = std::make_unique<SampleMachine>(kSampleDisk, kernel, sizeof(kernel));
    [[maybe_unused]] const Status built = sample->build(config);
  }
  unmap_all();
}
}  // namespace volley::fuzz
