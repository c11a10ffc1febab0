#pragma once

#include "abi/volley_abi.h"
#include "base/status.h"

namespace volley {

// The most guest memory one VMM maps: what fits below the 64-bit MMIO gap that the layout keeps free from 256 GiB on.
inline constexpr uint64_t kMaxGuestMemory = 255ull << 30;
inline constexpr uint64_t kMinGuestMemory = 2ull << 20;

// Checks every field of a configuration that has already been copied out of the shared page. The first refused field is
// named in the message, with the value found and what would be accepted.
Status validate_config(const volley_config& config);

}  // namespace volley
