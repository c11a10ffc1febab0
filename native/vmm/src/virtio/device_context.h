#pragma once

#include <cstdint>

#include "abi/volley_abi.h"
#include "birth/inherited_fds.h"
#include "memory/guest_memory.h"

namespace volley {

class DeviceLoop;

// How a device asks the agent something. The answer comes as VirtioDevice::command().
class AgentPort {
 public:
  // From any thread. False if no agent is connected or too many questions wait: take it as a refusal.
  [[nodiscard]] virtual bool ask(const volley_message& question) = 0;

 protected:
  ~AgentPort() = default;
};

// What a device is made from. Everything but `config` outlives the device.
struct DeviceContext {
  uint32_t index;               // in the configuration
  const volley_device& config;  // valid during open() only, checked by validate_config()
  const InheritedFds& fds;
  const GuestMemory& memory;
  DeviceLoop& loop;
  volley_stats& stats;
  AgentPort& agent;

  volley_device_stats& device_stats() const { return stats.devices[index]; }
};

}  // namespace volley
