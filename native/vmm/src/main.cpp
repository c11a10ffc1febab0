// One microVM. Everything it needs comes by descriptor (see abi/volley_abi.h); it opens nothing.
#include <unistd.h>

#include <cstdio>
#include <optional>

#include "abi/volley_abi.h"
#include "base/clock.h"
#include "base/wake_fd.h"
#include "birth/be_jailed.h"
#include "birth/birth_socket.h"
#include "birth/jail.h"
#include "config/config.h"
#include "control/agent_link.h"
#include "control/control_loop.h"
#include "control/life_record.h"
#include "machine/guest_core.h"
#include "machine/machine.h"
#include "process/seccomp.h"
#include "stats/page_file.h"

namespace volley {
namespace {

Status build_and_start(const volley_config& config, InheritedFds& fds, GuestCore& core, Machine& machine) {
  if (Status status = validate_config(config); !status.is_ok()) return status;
  if ((config.flags & VOLLEY_FLAG_RESTORE) != 0) {
    if (!core.is_primed()) {
      Status status = core.prime(fds.find(VOLLEY_ROLE_STATE), fds.find(VOLLEY_ROLE_MEMORY));
      if (!status.is_ok()) return status;
    }
    if (Status status = machine.restore(config, fds); !status.is_ok()) return status;
  } else if (core.is_primed()) {
    return Status::error("this process is primed with a snapshot, and was told to boot a kernel");
  } else {
    BootSource source;
    if (Status status = boot_source_of(config, fds, &source); !status.is_ok()) return status;
    if (Status status = machine.build(config, source, fds); !status.is_ok()) return status;
  }
  // What memory is made of stays, as a mapping.
  for (const uint32_t role :
       {VOLLEY_ROLE_KERNEL, VOLLEY_ROLE_INITRD, VOLLEY_ROLE_INITRD_EXTRA, VOLLEY_ROLE_STATE, VOLLEY_ROLE_MEMORY}) {
    fds.close(role);
  }
  if (Status status = machine.start((config.flags & VOLLEY_FLAG_START_PAUSED) != 0); !status.is_ok()) return status;
  return enter_seccomp(ThreadKind::kControl);
}

int run_microvm(InheritedFds& fds, GuestCore& core, uint32_t barriers, uid_t agent, uint64_t entered_ns,
                char** arguments) {
  PageFile pages;
  volley_config config;
  if (Status status = begin_record(fds, barriers, entered_ns, arguments, &pages, &config); !status.is_ok()) {
    fprintf(stderr, "volley-vmm: %s\n", status.message());
    return 1;
  }
  volley_stats& stats = pages.stats();
  WakeFd wake;
  AgentLink link(fds.find(VOLLEY_ROLE_CONTROL), agent);
  const Status wake_status = wake.create();
  const Status link_status = link.open();
  Machine machine(core, stats, pages.serial_ring(), wake);
  if (!wake_status.is_ok()) {
    machine.end().fail(wake_status);
  } else if (!link_status.is_ok()) {
    machine.end().fail(link_status);
  } else if (Status status = build_and_start(config, fds, core, machine); !status.is_ok()) {
    machine.end().fail(status);
  } else {
    ControlLoop(link, machine, wake).run();
  }
  // vCPU threads may be parked inside the machine: end the process without unwinding it.
  _exit(finish_record(stats, link, machine.end()));
}

// Returns only when no microVM came to be.
int be_born(char** arguments) {
  BirthSocket birth(VOLLEY_FD_BIRTH);
  int exit_code = 0;
  const std::optional<volley_shell_report> report = be_jailed(birth, &exit_code);
  if (!report) return exit_code;

  volley_launch_order launch_order{};
  InheritedFds fds;
  Status why = Status::ok();
  BirthSocket::Received received = birth.receive(&launch_order, BirthSocket::Expected::kLaunchOrPrime, &fds, &why);
  if (received != BirthSocket::Received::kOrder) return received == BirthSocket::Received::kAgentGone ? 0 : 1;
  GuestCore core(fds.find(VOLLEY_ROLE_KVM));
  if (launch_order.magic == VOLLEY_PRIME_MAGIC) {
    if (Status status = core.prime(fds.find(VOLLEY_ROLE_STATE), fds.find(VOLLEY_ROLE_MEMORY)); !status.is_ok()) {
      birth.report(refused(status));
      return 1;
    }
    birth.report(*report);
    received = birth.receive(&launch_order, BirthSocket::Expected::kLaunch, &fds, &why);
    if (received != BirthSocket::Received::kOrder) return received == BirthSocket::Received::kAgentGone ? 0 : 1;
  }
  const uint64_t entered_ns = monotonic_ns();
  const uid_t agent = birth.agent_uid();
  birth.close();
  return run_microvm(fds, core, report->barriers, agent, entered_ns, arguments);
}

}  // namespace
}  // namespace volley

int main(int, char** arguments) { _exit(volley::be_born(arguments)); }
