#pragma once

#include <cstdint>

#include "abi/volley_abi.h"
#include "abi/volley_snapshot.h"
#include "base/mapping.h"
#include "base/status.h"
#include "birth/inherited_fds.h"
#include "control/device_commands.h"
#include "devices/io_bus.h"
#include "kvm/vm.h"
#include "memory/guest_memory.h"
#include "virtio/device_context.h"

namespace volley {

class DeviceLoop;
class StateReader;
class StateWriter;
class VirtioDevice;

// The virtio devices of a machine with their register windows and threads. All of them lie in one mapping that is made
// for exactly those of the configuration: a machine without devices pays nothing.
class DeviceSet final : public DeviceCommands {
 public:
  // What the devices are built into.
  struct Platform {
    const Vm& vm;
    IoBus& mmio;
    const GuestMemory& memory;
    volley_stats& stats;
    AgentPort& agent;
    bool flat;  // boot protocol: decides how interrupts reach the guest
  };

  DeviceSet() = default;
  DeviceSet(const DeviceSet&) = delete;
  DeviceSet& operator=(const DeviceSet&) = delete;

  // Makes and opens the devices of `config` (validated) and attaches them to the bus.
  Status build(const volley_config& config, const InheritedFds& fds, const Platform& platform);
  // Has KVM signal the devices' kicks without a return to this process, where it can. After the last memory slot and
  // the last vCPU: KVM would make those wait.
  void connect_kicks(const Vm& vm);
  // Starts the device threads.
  Status start();

  // Stops every device between two requests. False if one was not done before `deadline_ns`; all then go on.
  [[nodiscard]] bool pause(uint64_t deadline_ns);
  void resume();
  // While the machine stands still: writes every device and its transport into a snapshot.
  Status save(StateWriter& to);
  // After build(), before start(): the devices go on from where they were in a snapshot of a machine with such devices.
  Status restore(const StateReader& from);
  // The vCPUs have stopped for good: devices write what must not be lost. A device that is not done with its request at
  // `deadline_ns` is left alone.
  void finish(uint64_t deadline_ns);

  int set_limit(uint32_t device, uint32_t which, const volley_limiter& limiter) override;
  int command(uint32_t type, const volley_message& message, UniqueFd& passed) override;

 private:
  struct Slot;

  volley_snapshot_device describe(const Slot& slot) const;
  Status make_device(uint32_t index, const volley_config& config, const InheritedFds& fds, const Platform& platform);
  Status make_loop(uint32_t index, uint32_t type, DeviceLoop** loop);
  void* take(size_t bytes);

  Mapping room_;
  size_t taken_ = 0;
  Slot* slots_[VOLLEY_MAX_DEVICES] = {};
  uint32_t count_ = 0;
  DeviceLoop* shared_loop_ = nullptr;
  DeviceLoop* loops_[VOLLEY_MAX_DEVICES] = {};  // each once
  uint32_t loop_count_ = 0;
};

}  // namespace volley
