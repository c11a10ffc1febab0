// The sections of a snapshot that KVM is given: vCPUs with their CPUID, clock and interrupt controllers; and those of
// the serial port and the keyboard controller. A machine is restored from them, looked at as a guest would, and where
// that went well a snapshot of it is taken in turn.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include "machine/snapshot_parts.h"
#include "snapshot/file_bytes.h"
#include "snapshot/vcpu_state.h"
#include "snapshot/vm_state.h"
#include "support/bounded_file.h"
#include "support/descriptors.h"
#include "support/guarded_mappings.h"
#include "support/sample_config.h"
#include "support/sample_machine.h"
#include "support/script.h"
#include "support/virtual_time.h"

namespace volley::fuzz {
namespace {

// As little as holds the generation id: every page is looked at for each snapshot, each word of it traced.
constexpr uint64_t kMemory = 1ull << 20;
constexpr unsigned kStepsAtMost = 1'000;

// Bytes of a section as the script has them, over what is sound.
template <typename T>
void change(Script& script, T& value) {
  for (uint8_t changes = script.byte() % 8; changes != 0; --changes) {
    const size_t at = script.take<uint32_t>() % sizeof(value);
    const auto bytes = script.bytes(script.byte() % 32);
    std::copy_n(bytes.begin(), std::min(bytes.size(), sizeof(value) - at), reinterpret_cast<uint8_t*>(&value) + at);
  }
}

volley_config config_of(Script& script) {
  volley_config config = sample_config();
  config.boot_protocol = script.flag() ? VOLLEY_BOOT_LINUX : VOLLEY_BOOT_FLAT;
  config.irqchip = script.flag() ? VOLLEY_IRQCHIP_FULL : VOLLEY_IRQCHIP_SPLIT;
  config.vcpus = 1 + script.choice(2);
  config.memory_bytes = kMemory;
  config.kernel_size = 0;
  config.flags = VOLLEY_FLAG_RESTORE;
  config.device_count = 0;
  return config;
}

void write_vcpu(Script& script, const volley_config& config, uint32_t index, StateWriter& to) {
  if (config.boot_protocol == VOLLEY_BOOT_LINUX) {
    const auto cpuid = std::make_unique<CpuidTable>();
    cpuid->count = script.choice(4);
    change(script, *cpuid);
    demand(to.add(VOLLEY_SECTION_CPUID, index, bytes_of(*cpuid)).is_ok(), "CPUID was not written");
  }
  const auto vcpu = std::make_unique<VcpuState>();
  vcpu->msr_count = script.byte();
  for (uint32_t i = 0; i < vcpu->msr_count && i < 4; ++i) vcpu->msrs[i].index = script.take<uint32_t>();
  change(script, *vcpu);
  demand(to.add(VOLLEY_SECTION_VCPU, index, bytes_of(*vcpu)).is_ok(), "a vCPU was not written");
}

void write_files(Script& script, const volley_config& config, int state_fd, int memory_fd) {
  std::vector<uint8_t> room(512 * 1024);
  StateWriter to(state_fd, room);
  volley_snapshot_header& header = to.header();
  header.boot_protocol = config.boot_protocol;
  header.irqchip = config.irqchip;
  header.vcpus = config.vcpus;
  header.memory_bytes = config.memory_bytes;
  demand(describe_cpu(KvmSystem(-1), &header).is_ok(), "no processor");
  for (uint32_t i = 0; i < config.vcpus; ++i) write_vcpu(script, config, i, to);
  VmState vm{};
  vm.chip_count = config.irqchip == VOLLEY_IRQCHIP_FULL ? 3 : 0;
  change(script, vm);
  demand(to.add(VOLLEY_SECTION_VM, 0, bytes_of(vm)).is_ok(), "the VM was not written");
  PlatformState platform{};
  change(script, platform);
  demand(to.add(VOLLEY_SECTION_PLATFORM, 0, bytes_of(platform)).is_ok(), "the platform was not written");
  demand(to.finish().is_ok(), "a header was not written");
  volley_snapshot_trailer trailer{.magic = VOLLEY_SNAPSHOT_TRAILER, .id = {}, .memory_bytes = config.memory_bytes};
  demand(ftruncate(memory_fd, static_cast<off_t>(config.memory_bytes + VOLLEY_SNAPSHOT_PAGE)) == 0 &&
             write_all(memory_fd, config.memory_bytes, bytes_of(trailer), "memory").is_ok(),
         "memory was not written");
}

// What is taken from such a machine is a snapshot again.
void take_again(Script& script, Machine& machine) {
  volley_snapshot_order order{};
  order.flags = script.byte() & (VOLLEY_SNAPSHOT_RESUME | VOLLEY_SNAPSHOT_STAY | VOLLEY_SNAPSHOT_LIVE);
  const int state = memfd_create("state", MFD_CLOEXEC);
  const int memory = memfd_create("memory", MFD_CLOEXEC);
  const UniqueFd kept(dup(state));
  if (!machine.snapshot().begin(order, UniqueFd(state), UniqueFd(memory)).is_ok()) return;
  Status status = Status::ok();
  volley_snapshot_taken taken{};
  unsigned steps = 0;
  while (!machine.snapshot().step(&status, &taken)) demand(++steps < kStepsAtMost, "a snapshot without an end");
  if (!status.is_ok()) return;
  demand(taken.rounds >= 1 && taken.rounds <= VOLLEY_SNAPSHOT_MAX_ROUNDS, "rounds without a bound");
  StateReader reader;
  demand(reader.open(kept.get()).is_ok(), "what was written is no snapshot");
}

}  // namespace

void run(Script& script) {
  {
    const DescriptorScope descriptors(false);
    restart_time();
    const volley_config config = config_of(script);
    const UniqueFd state(memfd_create("state", MFD_CLOEXEC));
    const UniqueFd memory(memfd_create("memory", MFD_CLOEXEC));
    write_files(script, config, state.get(), memory.get());
    const uint8_t kernel[kSampleKernelBytes] = {};
    const auto sample = std::make_unique<SampleMachine>(kSampleDisk, kernel, sizeof(kernel));
    Machine machine(sample->core, sample->stats, SerialRing(sample->serial_ring, sample->stats.serial_bytes),
                    sample->wake);
    if (sample->core.prime(state.get(), memory.get()).is_ok() && machine.restore(config, sample->fds).is_ok()) {
      // Its serial port and keyboard are used by the agent as they always are.
      const auto typed = script.bytes(8);
      demand(machine.type(typed) <= typed.size(), "more was typed than there was");
      [[maybe_unused]] const int pressed = machine.press_ctrl_alt_del();
      take_again(script, machine);
    }
  }
  unmap_all();
}

}  // namespace volley::fuzz

// The vCPUs have no threads here, so there is nobody to stop.
extern "C" bool __wrap__ZN6volley8VcpuGate16wait_all_stoppedEm(void*, uint64_t);
bool __wrap__ZN6volley8VcpuGate16wait_all_stoppedEm(void*, uint64_t) { return true; }
extern "C" int __wrap_pthread_kill(pthread_t, int);
int __wrap_pthread_kill(pthread_t, int) { return 0; }
