#pragma once

#include <cerrno>
#include <cstdint>

#include "abi/volley_abi.h"
#include "base/unique_fd.h"

namespace volley {

// What the agent may tell the virtio devices while the machine runs. Called on the control thread, also while the
// machine is paused; answers are 0 or an errno.
class DeviceCommands {
 public:
  // Device `device` of the configuration. ENODEV: there is none; EINVAL: it has no such limiter, or the limiter makes
  // no sense.
  virtual int set_limit(uint32_t device, uint32_t which, const volley_limiter& limiter) = 0;
  // A command for the one device of `type` (enum volley_device_type) there can be, as VirtioDevice::command(). ENODEV:
  // there is none. Whether it took `passed` or not, the descriptor is closed afterwards if it is still there.
  virtual int command(uint32_t type, const volley_message& message, UniqueFd& passed) = 0;

 protected:
  ~DeviceCommands() = default;
};

}  // namespace volley
