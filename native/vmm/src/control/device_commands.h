#pragma once

#include <cerrno>
#include <cstdint>

#include "abi/volley_abi.h"
#include "base/unique_fd.h"

namespace volley {

// What the agent may tell the virtio devices while the machine runs. Called on the control thread, also while the
// machine is paused; answers are 0 or an errno. The devices of a machine fill in what they can do.
class DeviceCommands {
 public:
  // ENODEV: no such device; EINVAL: it has no such limiter, or the limiter makes no sense.
  virtual int set_limit(uint32_t /*device*/, uint32_t /*which*/, const volley_limiter& /*limiter*/) { return ENODEV; }
  // Bytes that the balloon should hold. ENODEV: no balloon; EINVAL: more than guest memory.
  virtual int set_balloon(uint64_t /*bytes*/) { return ENODEV; }
  // The agent's answer to an ask with that id: a connected stream socket, or an errno in `status`. An answer to an ask
  // that was given up meanwhile is dropped, and the socket closed.
  virtual void vsock_answered(uint32_t /*request_id*/, int32_t /*status*/, UniqueFd /*socket*/) {}

 protected:
  ~DeviceCommands() = default;
};

// The commands of a machine without devices.
class NoDevices final : public DeviceCommands {};

// Through which the vsock device asks the agent for a connection to a port of the host.
class VsockAsker {
 public:
  // From any thread. False if the agent cannot be asked now (too many asks wait); no answer will come then.
  [[nodiscard]] virtual bool ask(uint32_t request_id, uint32_t port) = 0;

 protected:
  ~VsockAsker() = default;
};

}  // namespace volley
