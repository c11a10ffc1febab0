#include "machine/machine.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "machine/snapshot_parts.h"
#include "memory/layout.h"
#include "snapshot/file_bytes.h"
#include "snapshot/state_writer.h"
#include "snapshot/vm_state.h"
#include "stats/page_file.h"

namespace volley {
namespace {

constexpr uint64_t kStopDeadlineNs = 1'000'000'000;
constexpr uint64_t kDiskDeadlineNs = 10'000'000'000;

}  // namespace

Machine::Machine(GuestCore& core, volley_stats& stats, SerialRing ring, const WakeFd& wake)
    : core_(core),
      stats_(stats),
      wake_(wake),
      end_(stats, wake),
      serial_gsi_(core.vm(), kSerialGsi),
      keyboard_gsi_(core.vm(), kKeyboardGsi),
      serial_(ring, stats),
      i8042_(end_),
      pvpanic_(end_),
      acpi_sleep_(end_),
      boot_timer_(*this),
      flat_boot_(core.vm()),
      linux_boot_(core.vm()),
      questions_(wake),
      dispatch_(ports_, mmio_, stats, end_),
      context_{gate_, dispatch_, end_, stats},
      snapshot_(*this, core.vm(), core.memory()) {}

Status Machine::build(const volley_config& config, const BootSource& source, const InheritedFds& fds) {
  Status status = core_.make({.memory_bytes = config.memory_bytes,
                              .vcpus = config.vcpus,
                              .flat = config.boot_protocol == VOLLEY_BOOT_FLAT,
                              .full_irqchip = config.irqchip == VOLLEY_IRQCHIP_FULL});
  if (!status.is_ok()) return status;
  if (status = make_platform(config, fds); !status.is_ok()) return status;
  if (status = boot_->load(source, core_.memory()); !status.is_ok()) return status;
  publish(stats_.loaded_ns, monotonic_ns());
  if (status = core_.make_vcpus(); !status.is_ok()) return status;
  for (uint32_t i = 0; i < core_.shape().vcpus; ++i) {
    if (status = boot_->prepare_vcpu(core_.kvm(), core_.vcpu(i)); !status.is_ok()) return status;
  }
  // The split irqchip's machines stay free of kernel I/O devices: those make the end of a microVM take 15 ms and more.
  if (core_.shape().full_irqchip) devices_.connect_kicks(core_.vm());
  publish(stats_.vcpus_ns, monotonic_ns());
  return Status::ok();
}

// What is there before there is anything in memory, and what comes from the snapshot where there is one.
Status Machine::make_platform(const volley_config& config, const InheritedFds& fds) {
  const GuestCore::Shape& shape = core_.shape();
  boot_ = shape.flat ? static_cast<BootProtocol*>(&flat_boot_) : &linux_boot_;
  gate_.set_population(shape.vcpus);
  // Of one that was primed before this microVM was ordered all of it counts as done when the order came.
  publish(stats_.vm_created_ns, std::max(core_.created_ns(), stats_.entered_ns));
  if (Status status = snapshot_.open(); !status.is_ok()) return status;
  publish(stats_.guest_memory_address, reinterpret_cast<uint64_t>(core_.memory().host_base()));
  publish(stats_.guest_memory_bytes, core_.memory().size());
  publish(stats_.memory_ns, monotonic_ns());

  if (!serial_.set_limit(config.serial_limit)) {
    return Status::error("config.serial_limit makes no sense: a bucket with a size needs a refill time");
  }
  if (Status status = attach_devices(); !status.is_ok()) return status;
  const DeviceSet::Platform platform = {.vm = core_.vm(),
                                        .mmio = mmio_,
                                        .memory = core_.memory(),
                                        .stats = stats_,
                                        .agent = questions_,
                                        .flat = shape.flat};
  return devices_.build(config, fds, platform);
}

Status Machine::restore(const volley_config& config, const InheritedFds& fds) {
  const volley_snapshot_header& header = core_.snapshot().header();
  if (Status status = check_machine(header, config); !status.is_ok()) return status;
  if (Status status = make_platform(config, fds); !status.is_ok()) return status;
  publish(stats_.loaded_ns, monotonic_ns());
  if (Status status = core_.load_state(); !status.is_ok()) return status;
  if (Status status = restore_parts(config); !status.is_ok()) return status;
  snapshot_.set_base(header);
  publish(stats_.vcpus_ns, monotonic_ns());
  return Status::ok();
}

Status Machine::restore_parts(const volley_config& config) {
  const StateReader& snapshot = core_.snapshot();
  PlatformState platform;
  if (Status status = snapshot.read(VOLLEY_SECTION_PLATFORM, 0, bytes_of(platform)); !status.is_ok()) return status;
  serial_.restore(platform.serial);
  i8042_.restore(platform.keyboard);
  for (uint32_t i = 0; i < core_.shape().vcpus; ++i) core_.vcpu(i).mark_guest_paused();
  // The new identity before anything that could make the guest run: devices may interrupt it.
  if (!core_.memory().write(kGenerationIdAddress, config.generation_id)) {
    return Status::error("the snapshot's memory is too small for a generation id");
  }
  boot_->announce_generation();
  if (Status status = devices_.restore(snapshot); !status.is_ok()) return status;
  if (core_.shape().full_irqchip) devices_.connect_kicks(core_.vm());
  return Status::ok();
}

// Everything stands still.
Status Machine::save_state(StateWriter& to) {
  volley_snapshot_header& header = to.header();
  header.boot_protocol = boot_ == &flat_boot_ ? VOLLEY_BOOT_FLAT : VOLLEY_BOOT_LINUX;
  header.irqchip = core_.shape().full_irqchip ? VOLLEY_IRQCHIP_FULL : VOLLEY_IRQCHIP_SPLIT;
  header.vcpus = core_.shape().vcpus;
  header.tsc_khz = core_.vcpu(0).tsc_khz();
  if (Status status = describe_cpu(core_.kvm(), &header); !status.is_ok()) return status;
  if (Status status = devices_.save(to); !status.is_ok()) return status;
  for (uint32_t i = 0; i < core_.shape().vcpus; ++i) {
    Status status = store_vcpu(core_.kvm(), core_.vcpu(i), boot_->sets_cpuid(), to);
    if (!status.is_ok()) return status;
  }
  VmState vm;
  if (Status status = save_vm(core_.vm(), core_.shape().full_irqchip, &vm); !status.is_ok()) return status;
  if (Status status = to.add(VOLLEY_SECTION_VM, 0, bytes_of(vm)); !status.is_ok()) return status;
  const PlatformState platform{.serial = serial_.save(), .keyboard = i8042_.save()};
  return to.add(VOLLEY_SECTION_PLATFORM, 0, bytes_of(platform));
}

Status Machine::attach_devices() {
  if (core_.shape().full_irqchip) {
    serial_.connect(serial_gsi_);
    i8042_.connect(keyboard_gsi_);
  }
  if (Status status = ports_.attach(VOLLEY_PORT_SERIAL, Serial::kLength, serial_, "serial"); !status.is_ok())
    return status;
  if (Status status = ports_.attach(VOLLEY_PORT_I8042_DATA, I8042::kLength, i8042_.data_port(), "i8042-data");
      !status.is_ok()) {
    return status;
  }
  if (Status status = ports_.attach(VOLLEY_PORT_I8042_COMMAND, I8042::kLength, i8042_.command_port(), "i8042");
      !status.is_ok()) {
    return status;
  }
  if (Status status = ports_.attach(VOLLEY_PORT_PVPANIC, Pvpanic::kLength, pvpanic_, "pvpanic"); !status.is_ok()) {
    return status;
  }
  if (Status status = ports_.attach(VOLLEY_PORT_ACPI_SLEEP, AcpiSleep::kLength, acpi_sleep_, "acpi-sleep");
      !status.is_ok()) {
    return status;
  }
  if (Status status = mmio_.attach(VOLLEY_BOOT_TIMER_ADDRESS, BootTimer::kLength, boot_timer_, "boot-timer");
      !status.is_ok()) {
    return status;
  }
  return boot_->attach_devices({core_.vm(), ports_, mmio_, end_});
}

Status Machine::start(bool paused) {
  VcpuThread::install_kick_handler();
  if (paused) gate_.close();
  if (Status status = devices_.start(); !status.is_ok()) return status;
  for (uint32_t i = 0; i < core_.shape().vcpus; ++i) {
    if (Status status = vcpus_[i].start(core_.vcpu(i), context_); !status.is_ok()) return status;
  }
  if (!paused) {
    publish_state(stats_, VOLLEY_VMM_RUNNING);
    return Status::ok();
  }
  const uint64_t deadline = monotonic_ns() + kStopDeadlineNs;
  if (!gate_.wait_all_stopped(deadline) || !devices_.pause(deadline)) {
    return Status::system_error(ETIMEDOUT, "vCPU or device threads did not start");
  }
  publish(stats_.paused_ns, monotonic_ns());
  publish_state(stats_, VOLLEY_VMM_PAUSED);
  return Status::ok();
}

int Machine::pause() {
  if (gate_.is_closed()) return 0;
  gate_.close();
  kick_all();
  const uint64_t deadline = monotonic_ns() + kStopDeadlineNs;
  if (!gate_.wait_all_stopped(deadline) || !devices_.pause(deadline)) {
    gate_.open();
    return ETIMEDOUT;
  }
  publish(stats_.paused_ns, monotonic_ns());
  publish_state(stats_, VOLLEY_VMM_PAUSED);
  return 0;
}

void Machine::resume() {
  if (!gate_.is_closed()) return;
  publish(stats_.resumed_ns, monotonic_ns());
  publish_state(stats_, VOLLEY_VMM_RUNNING);
  devices_.resume();
  gate_.open();
}

void Machine::halt() {
  gate_.close();
  kick_all();
  gate_.wait_all_stopped(monotonic_ns() + kStopDeadlineNs);
  devices_.finish(monotonic_ns() + kDiskDeadlineNs);
}

void Machine::guest_booted() {
  publish(stats_.booted_ns, monotonic_ns());
  booted_.store(true, std::memory_order_release);
  wake_.signal();
}

void Machine::guest_reported(uint32_t report) { publish(stats_.guest_report, (uint64_t{1} << 63) | report); }

int Machine::set_limit(const volley_limit_change& change) {
  if (change.device != VOLLEY_LIMIT_SERIAL) return devices_.set_limit(change.device, change.which, change.limiter);
  return change.which == 0 && serial_.set_limit(change.limiter) ? 0 : EINVAL;
}

void Machine::kick_all() {
  for (uint32_t i = 0; i < core_.shape().vcpus; ++i) vcpus_[i].kick(core_.vcpu(i));
}

}  // namespace volley
