#pragma once

#include <unistd.h>

#include <cstdint>
#include <utility>

#include "abi/volley_abi.h"

namespace volley {

// The descriptors that came with an order, by what they are for (enum volley_role). They stay open for as long as the
// process lives unless somebody closes them.
struct InheritedFds {
  uint32_t count = 0;
  int fds[VOLLEY_ROLES_MAX];
  uint16_t roles[VOLLEY_ROLES_MAX];

  // -1 if none was passed, or it was closed. The descriptor stays owned by the table.
  int find(uint32_t role) const {
    for (uint32_t i = 0; i < count; ++i) {
      if (roles[i] == role) return fds[i];
    }
    return -1;
  }

  // False when the table is full or the role is there already: the descriptor is still the caller's.
  [[nodiscard]] bool add(uint16_t role, int fd) {
    if (count == VOLLEY_ROLES_MAX || find(role) >= 0) return false;
    roles[count] = role;
    fds[count++] = fd;
    return true;
  }

  // For what is not needed any more once it was read or used.
  void close(uint32_t role) {
    for (uint32_t i = 0; i < count; ++i) {
      if (roles[i] == role && fds[i] >= 0) ::close(std::exchange(fds[i], -1));
    }
  }
  void close_all() {
    for (uint32_t i = 0; i < count; ++i) {
      if (fds[i] >= 0) ::close(fds[i]);
    }
    count = 0;
  }
};

// Where device `index` of the configuration finds its disk file or tap, and its copy-on-write overlay.
inline constexpr uint32_t device_role(uint32_t index) { return VOLLEY_ROLE_DEVICE_FIRST + 2 * index; }
inline constexpr uint32_t overlay_role(uint32_t index) { return device_role(index) + 1; }

}  // namespace volley
