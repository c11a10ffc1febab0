#include "machine/snapshot_parts.h"

#include <cinttypes>
#include <cstring>

#include "kvm/cpu_identity.h"
#include "snapshot/file_bytes.h"
#include "snapshot/memory_file.h"
#include "snapshot/vcpu_state.h"

namespace volley {

Status check_machine(const volley_snapshot_header& header, const volley_config& config) {
  const struct {
    const char* what;
    uint64_t was, is;
  } parts[] = {{"boot protocol", header.boot_protocol, config.boot_protocol},
               {"irqchip", header.irqchip, config.irqchip},
               {"number of vCPUs", header.vcpus, config.vcpus},
               {"bytes of memory", header.memory_bytes, config.memory_bytes},
               {"number of devices", header.device_count, config.device_count}};
  for (const auto& part : parts) {
    if (part.was == part.is) continue;
    return Status::error("the snapshot has %s %" PRIu64 ", this microVM was given %" PRIu64, part.what, part.was,
                         part.is);
  }
  return Status::ok();
}

Status describe_cpu(const KvmSystem& kvm, volley_snapshot_header* header) {
  CpuIdentity cpu;
  if (Status status = identify_cpu(kvm, &cpu); !status.is_ok()) return status;
  memcpy(header->cpu_vendor, cpu.vendor, sizeof(header->cpu_vendor));
  header->cpu_family = cpu.family;
  header->cpu_model = cpu.model;
  header->cpu_stepping = cpu.stepping;
  header->cpu_features = cpu.features;
  return Status::ok();
}

Status check_cpu(const volley_snapshot_header& header, const KvmSystem& kvm) {
  volley_snapshot_header here{};
  if (Status status = describe_cpu(kvm, &here); !status.is_ok()) return status;
  if (memcmp(header.cpu_vendor, here.cpu_vendor, sizeof(here.cpu_vendor)) != 0 ||
      header.cpu_features != here.cpu_features) {
    return Status::error(
        "the snapshot's guest has seen a processor %.12s %u/%u with features %08x, this host has %.12s %u/%u with %08x",
        header.cpu_vendor, header.cpu_family, header.cpu_model, header.cpu_features, here.cpu_vendor, here.cpu_family,
        here.cpu_model, here.cpu_features);
  }
  return Status::ok();
}

Status map_snapshot_memory(GuestMemory& memory, int fd, const volley_snapshot_header& header) {
  if (Status status = check_memory_file(fd, header); !status.is_ok()) return status;
  for (uint32_t i = 0; i < header.extent_count; ++i) {
    Status status = memory.map_file(fd, header.extents[i].offset, header.extents[i].length);
    if (!status.is_ok()) return status;
  }
  return Status::ok();
}

Status store_vcpu(const KvmSystem& kvm, const Vcpu& vcpu, bool with_cpuid, StateWriter& to) {
  if (with_cpuid) {
    CpuidTable cpuid{};
    if (Status status = vcpu.get_cpuid(&cpuid); !status.is_ok()) return status;
    if (Status status = to.add(VOLLEY_SECTION_CPUID, vcpu.index(), bytes_of(cpuid)); !status.is_ok()) return status;
  }
  VcpuState state;
  if (Status status = save_vcpu(kvm, vcpu, &state); !status.is_ok()) return status;
  return to.add(VOLLEY_SECTION_VCPU, vcpu.index(), bytes_of(state));
}

Status load_vcpu(const StateReader& from, const Vcpu& vcpu, bool with_cpuid) {
  if (with_cpuid) {
    CpuidTable cpuid;
    if (Status status = from.read(VOLLEY_SECTION_CPUID, vcpu.index(), bytes_of(cpuid)); !status.is_ok()) return status;
    if (cpuid.count > CpuidTable::kCapacity) return Status::error("the snapshot's CPUID table is corrupt");
    if (Status status = vcpu.set_cpuid(cpuid); !status.is_ok()) return status;
  }
  VcpuState state;
  if (Status status = from.read(VOLLEY_SECTION_VCPU, vcpu.index(), bytes_of(state)); !status.is_ok()) return status;
  return restore_vcpu(vcpu, state);
}

}  // namespace volley
