#pragma once

#include <cstdint>

#include "abi/volley_abi.h"

namespace volley {

// The descriptors that came with the launch order, by what they are for (enum volley_role).
struct InheritedFds {
  uint32_t count = 0;
  int fds[VOLLEY_ROLES_MAX];
  uint16_t roles[VOLLEY_ROLES_MAX];

  // -1 if none was passed. The descriptor stays owned by whoever filled the table.
  int find(uint32_t role) const {
    for (uint32_t i = 0; i < count; ++i) {
      if (roles[i] == role) return fds[i];
    }
    return -1;
  }
};

// Where device `index` of the configuration finds its disk file or tap, and its copy-on-write overlay.
inline constexpr uint32_t device_role(uint32_t index) { return VOLLEY_ROLE_DEVICE_FIRST + 2 * index; }
inline constexpr uint32_t overlay_role(uint32_t index) { return device_role(index) + 1; }

}  // namespace volley
