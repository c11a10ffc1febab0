#include "kvm_probe.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <system_error>

#include "base/unique_fd.h"
#include "proc.h"

namespace volley {
namespace {

struct Capability {
  const char* name;
  int number;
  bool required;  // without it the VMM cannot run a microVM
};

constexpr Capability kCapabilities[] = {
    {"userMemory", KVM_CAP_USER_MEMORY, true},
    {"irqchip", KVM_CAP_IRQCHIP, true},
    {"splitIrqchip", KVM_CAP_SPLIT_IRQCHIP, true},
    {"immediateExit", KVM_CAP_IMMEDIATE_EXIT, true},
    {"extCpuid", KVM_CAP_EXT_CPUID, true},
    {"setTssAddr", KVM_CAP_SET_TSS_ADDR, false},
    {"pit2", KVM_CAP_PIT2, false},
    {"irqfd", KVM_CAP_IRQFD, false},
    {"ioeventfd", KVM_CAP_IOEVENTFD, false},
    {"signalMsi", KVM_CAP_SIGNAL_MSI, false},
    {"tscControl", KVM_CAP_TSC_CONTROL, false},
    {"getTscKhz", KVM_CAP_GET_TSC_KHZ, false},
    {"xsave2", KVM_CAP_XSAVE2, false},
    {"dirtyLogRing", KVM_CAP_DIRTY_LOG_RING, false},
    {"readonlyMemory", KVM_CAP_READONLY_MEM, false},
    {"memorySlots", KVM_CAP_NR_MEMSLOTS, false},
};

// The first processor's flags are enough, and reading no more keeps this cheap on hosts with hundreds of processors.
bool HasCpuFlag(std::string_view flag) {
  auto text = ReadSmallFile("/proc/cpuinfo", 8192);
  if (!text) return false;
  const size_t line = text->find("\nflags");
  if (line == std::string::npos) return false;
  const std::string flags = text->substr(line + 1, text->find('\n', line + 1) - line - 1) + ' ';
  return flags.find(' ' + std::string(flag) + ' ') != std::string::npos;
}

std::string LoadedModule() {
  // kvm_pvm first: where it serves /dev/kvm, a vendor module may be present without having taken hold.
  for (const char* name : {"kvm_pvm", "kvm_intel", "kvm_amd"}) {
    if (access((std::string("/sys/module/") + name).c_str(), F_OK) == 0) return name;
  }
  return {};
}

std::string WhyNotOpened(const char* device, int error) {
  const std::string what = std::string(device) + ": " + std::generic_category().message(error);
  switch (error) {
    case ENOENT:
      if (HasCpuFlag("vmx") || HasCpuFlag("svm")) {
        return what + ". The processor can virtualise: load its module (modprobe kvm_intel or kvm_amd)";
      }
      return what + ". Switch on virtualisation in the firmware, or nested virtualisation if this is a virtual machine";
    case EACCES:
    case EPERM:
      return what +
             ". Run as root or let the user into the group that owns it (usermod -aG kvm USER, then log in again)";
    case ENXIO:
    case ENODEV:
      return what + ". The device file is there but no KVM module serves it: modprobe kvm_intel or kvm_amd";
    default:
      return what;
  }
}

}  // namespace

KvmReport ProbeKvm(const char* device) {
  KvmReport report;
  const UniqueFd kvm(open(device, O_RDWR | O_CLOEXEC));
  if (!kvm.is_open()) {
    report.reason = WhyNotOpened(device, errno);
    return report;
  }
  report.api_version = ioctl(kvm.get(), KVM_GET_API_VERSION, 0);
  if (report.api_version != KVM_API_VERSION) {
    report.api_version = 0;
    report.reason = std::string(device) + " does not speak KVM API version 12";
    return report;
  }
  report.module = LoadedModule();
  // Software KVM (kvm_pvm) runs guests without the processor's help: guest user code natively, guest kernel code
  // restricted and with its page tables shadowed, which stock kernels do not survive. It is found where the host is
  // itself a virtual machine without nested virtualisation: the module gives it away, and so does a processor that
  // offers neither VMX nor SVM while /dev/kvm still works.
  report.hardware = report.module != "kvm_pvm" && (HasCpuFlag("vmx") || HasCpuFlag("svm"));

  std::string missing;
  for (const Capability& capability : kCapabilities) {
    const int value = ioctl(kvm.get(), KVM_CHECK_EXTENSION, capability.number);
    report.capabilities.emplace_back(capability.name, value);
    if (capability.required && value <= 0) missing += std::string(missing.empty() ? "" : ", ") + capability.name;
  }
  report.max_vcpus = ioctl(kvm.get(), KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
  if (report.max_vcpus <= 0) report.max_vcpus = ioctl(kvm.get(), KVM_CHECK_EXTENSION, KVM_CAP_NR_VCPUS);
  CpuIdentity cpu;
  if (identify_cpu(KvmSystem(kvm.get()), &cpu).is_ok()) report.cpu = cpu;
  report.available = missing.empty();
  if (!report.available) report.reason = "this KVM lacks what the VMM needs: " + missing + ". Use a newer kernel";
  return report;
}

}  // namespace volley
