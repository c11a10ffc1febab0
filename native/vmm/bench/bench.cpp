// How long a canary takes from its launch to its boot-timer write, and what its VMM costs. Prints one JSON document.
//   vmm_bench [--count N] [--held N] [--memory MIB] [--cmdline WORDS] [--jail none|full] [--shell yes|no]
// `--jail full` needs root. With `--shell yes` the jailed process is there before the clock starts.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "abi/volley_abi.h"
#include "support/check.h"
#include "support/vmm_process.h"
#include "void_namespaces.h"

namespace volley::test {
namespace {

struct Settings {
  size_t count = 300;
  size_t held = 20;
  uint64_t memory_mib = 32;
  std::string cmdline;
  ShellOptions jail;
  bool shell = false;
};

const VoidNamespaces& voids() {
  static const VoidNamespaces made = VoidNamespaces::make();
  return made;
}

ShellOptions full_jail() {
  ShellOptions options;
  options.barriers = VOLLEY_BARRIER_ALL;
  options.uid = options.gid = 4'000'031;
  options.namespaces = voids().to_pass(VOLLEY_BARRIER_ALL);
  return options;
}

// A launch, into a shell that waits if there is to be one.
std::unique_ptr<VmmProcess> launch(const Settings& settings, const LaunchOptions& options) {
  if (!settings.shell) return std::make_unique<VmmProcess>(options);
  ShellProcess shell(settings.jail);
  const std::optional<volley_shell_report> report = shell.report();
  if (!report || report->status != 0) {
    fprintf(stderr, "no shell: %s\n", report ? report->message : "it ended");
    exit(1);
  }
  return std::make_unique<VmmProcess>(options, std::move(shell));
}

double ms(uint64_t from_ns, uint64_t to_ns) { return static_cast<double>(to_ns - from_ns) / 1e6; }

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto at = static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5);
  return values[at];
}

void print_series(const char* name, const std::vector<double>& values, bool last = false) {
  printf("    \"%s\": {\"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"max\": %.3f}%s\n", name, percentile(values, 0.5),
         percentile(values, 0.9), percentile(values, 0.99), percentile(values, 1), last ? "" : ",");
}

struct Phases {
  std::vector<double> exec, vm, memory, load, vcpu, thread, guest, total, end;
};

// Each start alone: launched, booted, asked to end, gone, before the next one.
bool measure_starts(const Settings& settings, Phases* phases) {
  for (size_t i = 0; i < settings.count; ++i) {
    const auto launched_vmm =
        launch(settings, {.cmdline = settings.cmdline, .memory_mib = settings.memory_mib, .shell = settings.jail});
    VmmProcess& vmm = *launched_vmm;
    if (!vmm.await_booted()) {
      fprintf(stderr, "start %zu did not boot: %s\n", i, vmm.stats().exit_message);
      return false;
    }
    const volley_stats& s = vmm.stats();
    const uint64_t launched = vmm.launched_ns();
    phases->exec.push_back(ms(launched, s.entered_ns));
    phases->vm.push_back(ms(s.entered_ns, s.vm_created_ns));
    phases->memory.push_back(ms(s.vm_created_ns, s.memory_ns));
    phases->load.push_back(ms(s.memory_ns, s.loaded_ns));
    phases->vcpu.push_back(ms(s.loaded_ns, s.vcpus_ns));
    phases->thread.push_back(ms(s.vcpus_ns, s.run_ns));
    phases->guest.push_back(ms(s.run_ns, s.booted_ns));
    phases->total.push_back(ms(launched, s.booted_ns));
    vmm.send(VOLLEY_CMD_QUIT, 1);
    const uint64_t asked = vmm.now_ns();
    if (!vmm.await_end()) return false;
    phases->end.push_back(ms(asked, vmm.now_ns()));
  }
  return true;
}

struct Footprint {
  long private_kib = 0;
  long private_dirty_kib = 0;
  long proportional_kib = 0;
  long guest_kib = 0;
};

// Adds up smaps, with the guest's own pages apart. Text pages are private to a VMM that runs alone and shared
// otherwise, which is why several are held.
Footprint footprint(pid_t pid, uint64_t address, uint64_t bytes) {
  Footprint result;
  const std::string path = "/proc/" + std::to_string(pid) + "/smaps";
  FILE* file = fopen(path.c_str(), "re");
  if (file == nullptr) return result;
  char line[512];
  bool guest = false;
  while (fgets(line, sizeof(line), file) != nullptr) {
    unsigned long from = 0;
    unsigned long to = 0;
    long kib = 0;
    if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
      guest = from < address + bytes && address < to;
    } else if (sscanf(line, "Private_Clean: %ld", &kib) == 1) {
      (guest ? result.guest_kib : result.private_kib) += kib;
    } else if (sscanf(line, "Private_Dirty: %ld", &kib) == 1) {
      (guest ? result.guest_kib : result.private_kib) += kib;
      if (!guest) result.private_dirty_kib += kib;
    } else if (sscanf(line, "Pss: %ld", &kib) == 1 && !guest) {
      result.proportional_kib += kib;
    }
  }
  fclose(file);
  return result;
}

Footprint footprint(const VmmProcess& vmm) {
  return footprint(vmm.pid(), vmm.stats().guest_memory_address, vmm.stats().guest_memory_bytes);
}

long available_kib() {
  FILE* file = fopen("/proc/meminfo", "re");
  if (file == nullptr) return 0;
  char line[128];
  long kib = 0;
  while (fgets(line, sizeof(line), file) != nullptr && sscanf(line, "MemAvailable: %ld", &kib) != 1) {
  }
  fclose(file);
  return kib;
}

bool measure_memory(const Settings& settings) {
  std::vector<std::unique_ptr<VmmProcess>> held;
  held.push_back(launch(settings, {.memory_mib = settings.memory_mib, .shell = settings.jail}));
  if (!held.back()->await_booted()) return false;
  const Footprint alone = footprint(*held.back());
  const long before = available_kib();
  for (size_t i = 1; i < settings.held; ++i) {
    held.push_back(launch(settings, {.memory_mib = settings.memory_mib, .shell = settings.jail}));
    if (!held.back()->await_booted()) return false;
  }
  usleep(200'000);
  const long after = available_kib();
  const Footprint among = footprint(*held.back());
  const double others = settings.held > 1 ? static_cast<double>(settings.held - 1) : 1;
  printf("  \"memoryKiB\": {\n");
  printf("    \"held\": %zu,\n", settings.held);
  printf("    \"vmmPrivateDirty\": %ld,\n", among.private_dirty_kib);
  printf("    \"vmmPrivate\": %ld,\n", among.private_kib);
  printf("    \"vmmPrivateWhenAlone\": %ld,\n", alone.private_kib);
  printf("    \"vmmProportional\": %ld,\n", among.proportional_kib);
  printf("    \"guestTouched\": %ld,\n", among.guest_kib);
  printf("    \"hostAvailablePerMicrovm\": %.0f\n", static_cast<double>(before - after) / others);
  printf("  },\n");
  return true;
}

// What a shell costs while it waits.
void measure_shells(const Settings& settings) {
  std::vector<std::unique_ptr<ShellProcess>> held;
  long before = 0;
  for (size_t i = 0; i < settings.held; ++i) {
    if (i == 1) before = available_kib();
    held.push_back(std::make_unique<ShellProcess>(settings.jail));
    if (!held.back()->report()) return;
  }
  usleep(200'000);
  const double others = settings.held > 1 ? static_cast<double>(settings.held - 1) : 1;
  const Footprint one = footprint(held.back()->pid, 0, 0);
  printf("  \"shellKiB\": {\n");
  printf("    \"held\": %zu,\n", settings.held);
  printf("    \"private\": %ld,\n", one.private_kib);
  printf("    \"proportional\": %ld,\n", one.proportional_kib);
  printf("    \"hostAvailablePerShell\": %.0f\n", static_cast<double>(before - available_kib()) / others);
  printf("  }\n");
}

bool parse(int argc, char** argv, Settings* settings) {
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 == argc) return false;
    if (strcmp(argv[i], "--count") == 0) {
      settings->count = strtoul(argv[i + 1], nullptr, 10);
    } else if (strcmp(argv[i], "--held") == 0) {
      settings->held = std::max(1ul, strtoul(argv[i + 1], nullptr, 10));
    } else if (strcmp(argv[i], "--memory") == 0) {
      settings->memory_mib = strtoul(argv[i + 1], nullptr, 10);
    } else if (strcmp(argv[i], "--cmdline") == 0) {
      settings->cmdline = argv[i + 1];
    } else if (strcmp(argv[i], "--jail") == 0 && strcmp(argv[i + 1], "full") == 0) {
      settings->jail = full_jail();
    } else if (strcmp(argv[i], "--jail") == 0 && strcmp(argv[i + 1], "none") == 0) {
      settings->jail.barriers = 0;
    } else if (strcmp(argv[i], "--shell") == 0) {
      settings->shell = strcmp(argv[i + 1], "yes") == 0;
    } else {
      return false;
    }
  }
  return true;
}

int run(int argc, char** argv) {
  Settings settings;
  if (!parse(argc, argv, &settings)) {
    fprintf(stderr,
            "usage: vmm_bench [--count N] [--held N] [--memory MIB] [--cmdline WORDS] [--jail none|full] "
            "[--shell yes|no]\n");
    return 2;
  }
  if (!kvm_available()) return check::kSkip;
  Phases phases;
  if (!measure_starts(settings, &phases)) return 1;
  printf("{\n  \"starts\": %zu,\n  \"guestMemoryMiB\": %llu,\n  \"ms\": {\n", settings.count,
         static_cast<unsigned long long>(settings.memory_mib));
  print_series("launchToOrder", phases.exec);
  print_series("createVm", phases.vm);
  print_series("memoryAndIrqchip", phases.memory);
  print_series("load", phases.load);
  print_series("vcpus", phases.vcpu);
  print_series("threadToRun", phases.thread);
  print_series("runToBooted", phases.guest);
  print_series("launchToBooted", phases.total);
  print_series("quitToGone", phases.end, true);
  printf("  },\n");
  if (!measure_memory(settings)) return 1;
  measure_shells(settings);
  printf("}\n");
  return 0;
}

}  // namespace
}  // namespace volley::test

int main(int argc, char** argv) { return volley::test::run(argc, argv); }
