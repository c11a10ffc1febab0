// What a vCPU can do outside of RAM: any exit of KVM, to the ports and windows of every machine, while the agent types
// and presses keys.
#include <linux/kvm.h>

#include <algorithm>
#include <memory>

#include "devices/acpi_sleep.h"
#include "devices/boot_timer.h"
#include "devices/i8042.h"
#include "devices/pvpanic.h"
#include "devices/serial.h"
#include "kvm/kvm_system.h"
#include "kvm/vm.h"
#include "machine/end_record.h"
#include "machine/exit_dispatch.h"
#include "support/demand.h"
#include "support/descriptors.h"
#include "support/fake_kvm.h"
#include "support/script.h"
#include "support/virtual_time.h"

namespace volley::fuzz {
namespace {

struct Board final : BootListener, InterruptLine {
  Board() {
    demand(wake.create().is_ok(), "no eventfd");
    serial.connect(*this);
    keyboard.connect(*this);
    const Status attached[] = {
        ports.attach(VOLLEY_PORT_SERIAL, Serial::kLength, serial, "serial"),
        ports.attach(VOLLEY_PORT_I8042_DATA, I8042::kLength, keyboard.data_port(), "i8042-data"),
        ports.attach(VOLLEY_PORT_I8042_COMMAND, I8042::kLength, keyboard.command_port(), "i8042"),
        ports.attach(VOLLEY_PORT_PVPANIC, Pvpanic::kLength, panic, "pvpanic"),
        ports.attach(VOLLEY_PORT_ACPI_SLEEP, AcpiSleep::kLength, sleep, "acpi-sleep"),
        mmio.attach(VOLLEY_BOOT_TIMER_ADDRESS, BootTimer::kLength, boot_timer, "boot-timer")};
    for (const Status& status : attached) demand(status.is_ok(), "a device is in another one's place");
  }
  void guest_booted() override { demand(!std::exchange(booted, true), "booted twice"); }
  void guest_reported(uint32_t) override {}
  void set(bool) override {}

  volley_stats stats{};
  uint8_t serial_ring[VOLLEY_SERIAL_RING];
  WakeFd wake;
  EndRecord end{stats, wake};
  Serial serial{SerialRing(serial_ring, stats.serial_bytes), stats};
  I8042 keyboard{end};
  Pvpanic panic{end};
  AcpiSleep sleep{end};
  BootTimer boot_timer{*this};
  IoBus ports;
  IoBus mmio;
  ExitDispatch dispatch{ports, mmio, stats, end};
  bool booted = false;
};

void port_exit(Script& script, kvm_run& run) {
  constexpr uint16_t kPorts[] = {VOLLEY_PORT_SERIAL, VOLLEY_PORT_I8042_DATA, VOLLEY_PORT_I8042_COMMAND,
                                 VOLLEY_PORT_PVPANIC, VOLLEY_PORT_ACPI_SLEEP};
  const uint8_t how = script.byte();
  run.exit_reason = KVM_EXIT_IO;
  run.io.direction = how & 1;
  run.io.size = static_cast<uint8_t>(1u << (how >> 1 & 3));
  if (run.io.size == 8) run.io.size = 1;
  run.io.port = (how & 8) != 0 ? script.take<uint16_t>()
                               : static_cast<uint16_t>(kPorts[script.choice(std::size(kPorts))] + (how >> 5));
  run.io.count = (how & 16) != 0 ? script.byte() : 1;
  run.io.data_offset = 4096;
  const auto data = script.bytes(size_t{run.io.size} * run.io.count);
  std::copy(data.begin(), data.end(), reinterpret_cast<uint8_t*>(&run) + run.io.data_offset);
}

void mmio_exit(Script& script, kvm_run& run) {
  const uint8_t how = script.byte();
  run.exit_reason = KVM_EXIT_MMIO;
  run.mmio.is_write = how & 1;
  run.mmio.len = 1 + (how >> 1 & 7);
  run.mmio.phys_addr =
      (how & 16) != 0 ? script.take<uint64_t>() : VOLLEY_BOOT_TIMER_ADDRESS + (script.take<uint16_t>() & 0x101f);
  const auto data = script.bytes(sizeof(run.mmio.data));
  std::copy(data.begin(), data.end(), run.mmio.data);
}

}  // namespace

void run(Script& script) {
  const DescriptorScope descriptors(true);
  restart_time();
  const UniqueFd kvm_fd(open_fake_kvm());
  const KvmSystem kvm(kvm_fd.get());
  Vm vm;
  Vcpu vcpu;
  size_t mapping = 0;
  demand(vm.create(kvm).is_ok() && kvm.vcpu_mapping_size(&mapping).is_ok() && vcpu.create(vm, 0, mapping).is_ok(),
         "no vCPU");
  const auto board = std::make_unique<Board>();
  kvm_run& shared = vcpu.shared();
  for (unsigned steps = 0; !script.is_over() && steps < 512; ++steps) {
    const uint8_t step = script.byte();
    switch (step % 8) {
      case 0:
      case 1:
      case 2:
        port_exit(script, shared);
        break;
      case 3:
        mmio_exit(script, shared);
        break;
      case 4: {
        const auto text = script.bytes(script.byte());
        demand(board->serial.type(text) <= text.size(), "more was typed than there was");
        continue;
      }
      case 5: {
        const auto limit = script.take<volley_limiter>();
        [[maybe_unused]] const bool taken = board->serial.set_limit(limit);
        continue;
      }
      case 6:
        board->keyboard.press_ctrl_alt_del();
        advance_time(script.take<uint16_t>() * uint64_t{100'000});
        continue;
      default:
        shared.exit_reason = script.byte();
        if (shared.exit_reason == KVM_EXIT_IO || shared.exit_reason == KVM_EXIT_MMIO) continue;
        shared.system_event.type = script.byte();
        break;
    }
    const bool goes_on = board->dispatch.handle(vcpu);
    demand(goes_on != board->end.ended(), "a vCPU runs on after the end, or stops before it");
    if (!goes_on) break;
  }
}
}  // namespace volley::fuzz
