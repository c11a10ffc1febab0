#pragma once

#include "abi/volley_abi.h"
#include "base/status.h"

namespace volley {

// The largest disk: its overlay's bitmap then takes 32 MiB of address space.
inline constexpr uint64_t kMaxDiskBytes = 16ull << 40;
inline constexpr uint64_t kSectorBytes = 512;

// Checks config.devices and their limits, as validate_config() does for the rest.
Status validate_devices(const volley_config& config);

}  // namespace volley
