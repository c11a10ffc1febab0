#pragma once

#include <atomic>
#include <span>

#include "abi/volley_abi.h"
#include "abi/volley_snapshot.h"
#include "base/wake_fd.h"
#include "boot/boot_protocol.h"
#include "boot/flat_boot.h"
#include "boot/linux_boot.h"
#include "control/agent_questions.h"
#include "control/device_commands.h"
#include "devices/acpi_sleep.h"
#include "devices/boot_timer.h"
#include "devices/gsi_line.h"
#include "devices/i8042.h"
#include "devices/io_bus.h"
#include "devices/pvpanic.h"
#include "devices/serial.h"
#include "machine/device_set.h"
#include "machine/end_record.h"
#include "machine/exit_dispatch.h"
#include "machine/guest_core.h"
#include "machine/snapshot_job.h"
#include "machine/vcpu_gate.h"
#include "machine/vcpu_thread.h"

namespace volley {

// The microVM: memory, devices and vCPUs, put together. Built and commanded by the control thread; the vCPU threads
// only use what does not change after start().
class Machine final : public BootListener, private SnapshotSubject {
 public:
  // `wake` is signalled when the guest has booted and when the microVM has ended.
  Machine(GuestCore& core, volley_stats& stats, SerialRing ring, const WakeFd& wake);

  // Creates everything, in the order that is cheap for KVM, and loads the guest. The devices keep what they need of
  // `fds`, which must outlive the machine.
  Status build(const volley_config& config, const BootSource& source, const InheritedFds& fds);
  // Instead of build(): goes on from the snapshot with which the core is primed, with a new generation id.
  Status restore(const volley_config& config, const InheritedFds& fds);
  // Starts the vCPU threads; they stop at once in front of the gate if `paused`.
  Status start(bool paused);

  // Stops every vCPU outside the guest, then every device between two requests. 0, or ETIMEDOUT if one did not stop;
  // the machine then runs on.
  int pause() override;
  void resume() override;
  int press_power_button() { return boot_->power_button().press(); }
  // As I8042 and Serial say.
  int press_ctrl_alt_del() { return i8042_.press_ctrl_alt_del(); }
  size_t type(std::span<const uint8_t> bytes) { return serial_.type(bytes); }
  // Changes a limit of a device or of the serial console. 0, ENODEV or EINVAL.
  int set_limit(const volley_limit_change& change);
  // What the agent may tell the virtio devices, and how they ask it.
  DeviceCommands& devices() { return devices_; }
  AgentQuestions& questions() { return questions_; }
  // The snapshot that is being written, if any.
  SnapshotJob& snapshot() { return snapshot_; }
  // Stops the vCPUs and devices for good, so that nothing changes the page file any more, and has disks write what must
  // not be lost. Gives up waiting for a vCPU after a second and for a disk after ten.
  void halt();

  EndRecord& end() { return end_; }
  bool booted() const { return booted_.load(std::memory_order_acquire); }
  uint64_t booted_ns() const { return stats_.booted_ns; }

 private:
  void guest_booted() override;
  void guest_reported(uint32_t report) override;
  Status make_platform(const volley_config& config, const InheritedFds& fds);
  Status attach_devices();
  Status restore_parts(const volley_config& config);
  bool is_paused() const override { return gate_.is_closed(); }
  Status save_state(StateWriter& to) override;
  void kick_all();

  GuestCore& core_;
  volley_stats& stats_;
  const WakeFd& wake_;
  IoBus ports_;
  IoBus mmio_;
  EndRecord end_;
  GsiLine serial_gsi_;
  GsiLine keyboard_gsi_;
  Serial serial_;
  I8042 i8042_;
  Pvpanic pvpanic_;
  AcpiSleep acpi_sleep_;
  BootTimer boot_timer_;
  FlatBoot flat_boot_;
  LinuxBoot linux_boot_;
  BootProtocol* boot_ = nullptr;
  AgentQuestions questions_;
  DeviceSet devices_;
  ExitDispatch dispatch_;
  VcpuGate gate_;
  VcpuContext context_;
  VcpuThread vcpus_[VOLLEY_MAX_VCPUS];
  SnapshotJob snapshot_;
  std::atomic<bool> booted_{false};
};

}  // namespace volley
