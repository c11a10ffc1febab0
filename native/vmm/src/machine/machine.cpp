#include "machine/machine.h"

#include <cerrno>

#include "base/clock.h"
#include "memory/layout.h"
#include "stats/page_file.h"

namespace volley {
namespace {

constexpr uint64_t kStopDeadlineNs = 1'000'000'000;
constexpr uint64_t kDiskDeadlineNs = 10'000'000'000;
constexpr uint64_t kSplitIrqchipRoutes = 24;

}  // namespace

Machine::Machine(int kvm_fd, volley_stats& stats, SerialRing ring, const WakeFd& wake)
    : kvm_(kvm_fd),
      stats_(stats),
      wake_(wake),
      end_(stats, wake),
      serial_gsi_(vm_, kSerialGsi),
      keyboard_gsi_(vm_, kKeyboardGsi),
      serial_(ring, stats),
      i8042_(end_),
      pvpanic_(end_),
      acpi_sleep_(end_),
      boot_timer_(*this),
      flat_boot_(vm_),
      linux_boot_(vm_),
      questions_(wake),
      dispatch_(ports_, mmio_, stats, end_),
      context_{gate_, dispatch_, end_, stats} {}

Status Machine::build(const volley_config& config, const BootSource& source, const InheritedFds& fds) {
  const bool flat = config.boot_protocol == VOLLEY_BOOT_FLAT;
  boot_ = flat ? static_cast<BootProtocol*>(&flat_boot_) : &linux_boot_;
  full_irqchip_ = config.irqchip == VOLLEY_IRQCHIP_FULL;
  vcpu_count_ = config.vcpus;
  gate_.set_population(config.vcpus);

  if (Status status = kvm_.check(); !status.is_ok()) return status;
  if (Status status = vm_.create(kvm_); !status.is_ok()) return status;
  publish(stats_.vm_created_ns, monotonic_ns());

  if (Status status = memory_.map(config.memory_bytes, flat); !status.is_ok()) return status;
  if (Status status = vm_.add_memory(memory_); !status.is_ok()) return status;
  if (Status status = full_irqchip_ ? vm_.create_full_irqchip() : vm_.enable_split_irqchip(kSplitIrqchipRoutes);
      !status.is_ok()) {
    return status;
  }
  publish(stats_.guest_memory_address, reinterpret_cast<uint64_t>(memory_.host_base()));
  publish(stats_.guest_memory_bytes, memory_.size());
  publish(stats_.memory_ns, monotonic_ns());

  if (!serial_.set_limit(config.serial_limit)) {
    return Status::error("config.serial_limit makes no sense: a bucket with a size needs a refill time");
  }
  if (Status status = attach_devices(); !status.is_ok()) return status;
  const DeviceSet::Platform platform = {
      .vm = vm_, .mmio = mmio_, .memory = memory_, .stats = stats_, .agent = questions_, .flat = flat};
  if (Status status = devices_.build(config, fds, platform); !status.is_ok()) return status;
  if (Status status = boot_->load(source, memory_); !status.is_ok()) return status;
  publish(stats_.loaded_ns, monotonic_ns());

  size_t mapping_size = 0;
  if (Status status = kvm_.vcpu_mapping_size(&mapping_size); !status.is_ok()) return status;
  for (uint32_t i = 0; i < vcpu_count_; ++i) {
    if (Status status = vcpus_[i].vcpu().create(vm_, i, mapping_size); !status.is_ok()) return status;
    if (Status status = boot_->prepare_vcpu(kvm_, vcpus_[i].vcpu()); !status.is_ok()) return status;
  }
  // The split irqchip's machines stay free of kernel I/O devices: those make the end of a microVM take 15 ms and more.
  if (full_irqchip_) devices_.connect_kicks(vm_);
  publish(stats_.vcpus_ns, monotonic_ns());
  return Status::ok();
}

Status Machine::attach_devices() {
  if (full_irqchip_) {
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
  return boot_->attach_devices({vm_, ports_, mmio_, end_});
}

Status Machine::start(bool paused) {
  VcpuThread::install_kick_handler();
  if (paused) gate_.close();
  if (Status status = devices_.start(); !status.is_ok()) return status;
  for (uint32_t i = 0; i < vcpu_count_; ++i) {
    if (Status status = vcpus_[i].start(context_); !status.is_ok()) return status;
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
  for (uint32_t i = 0; i < vcpu_count_; ++i) vcpus_[i].kick();
}

}  // namespace volley
