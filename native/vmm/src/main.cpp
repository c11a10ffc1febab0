// One microVM. Everything it needs comes by descriptor (see abi/volley_abi.h); it opens nothing.
#include <unistd.h>

#include <cstdio>

#include "abi/volley_abi.h"
#include "base/clock.h"
#include "base/wake_fd.h"
#include "config/config.h"
#include "control/agent_link.h"
#include "control/control_loop.h"
#include "machine/machine.h"
#include "process/crash_handlers.h"
#include "process/hardening.h"
#include "stats/page_file.h"

namespace volley {
namespace {

void begin_stats(volley_stats& stats, uint64_t entered_ns) {
  stats.abi_version = VOLLEY_ABI_VERSION;
  stats.pid = static_cast<uint32_t>(getpid());
  publish(stats.entered_ns, entered_ns);
  publish_state(stats, VOLLEY_VMM_STARTING);
  std::atomic_ref<uint64_t>(stats.magic).store(VOLLEY_STATS_MAGIC, std::memory_order_release);
}

// Completes the page file, then tells the agent.
int finish(volley_stats& stats, AgentLink& link, const EndRecord& end) {
  publish(stats.exited_ns, monotonic_ns());
  publish_state(stats, VOLLEY_VMM_EXITED);
  link.accept_newest();
  link.close_incoming();
  link.send({.type = VOLLEY_NOTE_EXITING,
             .request_id = 0,
             .status = 0,
             .argument = static_cast<uint32_t>(end.reason()),
             .time_ns = stats.exited_ns});
  return end.reason() == VOLLEY_EXIT_VMM_ERROR ? 1 : 0;
}

Status build_and_start(const volley_config& config, Machine& machine) {
  if (Status status = validate_config(config); !status.is_ok()) return status;
  const BootSource source = {.kernel_fd = VOLLEY_FD_KERNEL,
                             .kernel_size = config.kernel_size,
                             .initrd_fd = VOLLEY_FD_INITRD,
                             .initrd_size = config.initrd_size,
                             .cmdline = config.cmdline,
                             .cmdline_length = config.cmdline_length,
                             .vcpus = config.vcpus};
  if (Status status = machine.build(config, source); !status.is_ok()) return status;
  close(VOLLEY_FD_KERNEL);
  if (config.initrd_size != 0) close(VOLLEY_FD_INITRD);
  return machine.start((config.flags & VOLLEY_FLAG_START_PAUSED) != 0);
}

int run(uint64_t entered_ns) {
  PageFile pages;
  if (Status status = pages.map(VOLLEY_FD_PAGES); !status.is_ok()) {
    fprintf(stderr, "volley-vmm: %s\nvolley-vmm is started by hostd, which passes all it needs by descriptor.\n",
            status.message());
    return 1;
  }
  volley_stats& stats = pages.stats();
  begin_stats(stats, entered_ns);
  install_crash_handlers(stats);
  use_crash_stack(0);

  const volley_config config = pages.read_config();
  harden_process(config);  // closes what leaked in, so it comes before the first descriptor of our own
  WakeFd wake;
  AgentLink link(VOLLEY_FD_CONTROL);
  const Status wake_status = wake.create();
  const Status link_status = link.open();
  Machine machine(VOLLEY_FD_KVM, stats, pages.serial_ring(), wake);
  if (!wake_status.is_ok()) {
    machine.end().fail(wake_status);
  } else if (!link_status.is_ok()) {
    machine.end().fail(link_status);
  } else if (Status status = build_and_start(config, machine); !status.is_ok()) {
    machine.end().fail(status);
  } else {
    ControlLoop(link, machine, wake).run();
  }
  // vCPU threads may be parked inside the machine: end the process without unwinding it.
  _exit(finish(stats, link, machine.end()));
}

}  // namespace
}  // namespace volley

int main() { return volley::run(volley::monotonic_ns()); }
