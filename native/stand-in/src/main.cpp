// Stands in for a VMM where there is no KVM: is born, jailed, commanded and ended by the agent like volley-vmm, of
// whose parts it is made, but there is no machine in it and no guest runs. For tests of what is around VMMs.
#include <unistd.h>

#include <cerrno>
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
#include "control/life_record.h"
#include "machine/end_record.h"
#include "process/seccomp.h"
#include "script.h"
#include "stand_in.h"
#include "stats/page_file.h"

namespace volley {
namespace {

constexpr std::string_view kBanner = "stand-in: no guest runs here\n";

void print(const PageFile& pages, std::string_view text) {
  pages.serial_ring().append({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

Status no_snapshots() {
  return Status::system_error(ENOTSUP, "a stand-in has no guest that could go on from a snapshot");
}

Status check(const volley_config& config) {
  if (Status status = validate_config(config); !status.is_ok()) return status;
  if ((config.flags & VOLLEY_FLAG_RESTORE) != 0) return no_snapshots();
  if (config.boot_protocol != VOLLEY_BOOT_FLAT) {
    return Status::system_error(ENOTSUP, "a stand-in plays canaries and no other guests");
  }
  return enter_seccomp(ThreadKind::kControl);
}

void live(const volley_config& config, AgentLink& link, const PageFile& pages, EndRecord& end) {
  print(pages, kBanner);
  std::string_view unknown;
  const std::optional<Script> script = read_script(config.cmdline, &unknown);
  if (!script) {
    print(pages, "stand-in: a canary would not know the word '");
    print(pages, unknown);
    print(pages, "'\n");
    end.end(VOLLEY_EXIT_PANIC, 0, "the command line has a word that a canary does not know");
    return;
  }
  StandIn(link, pages.stats(), end, *script).run((config.flags & VOLLEY_FLAG_START_PAUSED) != 0);
}

int run_microvm(InheritedFds& fds, uint32_t barriers, uid_t agent, uint64_t entered_ns, char** arguments) {
  PageFile pages;
  volley_config config;
  if (Status status = begin_record(fds, barriers, entered_ns, arguments, &pages, &config); !status.is_ok()) {
    fprintf(stderr, "volley-vmm-stand-in: %s\n", status.message());
    return 1;
  }
  WakeFd wake;
  AgentLink link(fds.find(VOLLEY_ROLE_CONTROL), agent);
  EndRecord end(pages.stats(), wake);
  if (Status status = wake.create(); !status.is_ok()) {
    end.fail(status);
  } else if (status = link.open(); !status.is_ok()) {
    end.fail(status);
  } else if (status = check(config); !status.is_ok()) {
    end.fail(status);
  } else {
    // Nobody answers there: who calls the guest shall hear so at once.
    fds.close(VOLLEY_ROLE_VSOCK);
    live(config, link, pages, end);
  }
  // Without unwinding: the jail does not let this thread unmap anything any more, and the kernel does it anyhow.
  _exit(finish_record(pages.stats(), link, end));
}

// Returns the process's exit code.
int be_born(char** arguments) {
  BirthSocket birth(VOLLEY_FD_BIRTH);
  int exit_code = 0;
  const std::optional<volley_shell_report> report = be_jailed(birth, &exit_code);
  if (!report) return exit_code;

  volley_launch_order order{};
  InheritedFds fds;
  Status why = Status::ok();
  const BirthSocket::Received received = birth.receive(&order, BirthSocket::Expected::kLaunchOrPrime, &fds, &why);
  if (received != BirthSocket::Received::kOrder) return received == BirthSocket::Received::kAgentGone ? 0 : 1;
  if (order.magic == VOLLEY_PRIME_MAGIC) {
    birth.report(refused(no_snapshots()));
    return 1;
  }
  const uint64_t entered_ns = monotonic_ns();
  const uid_t agent = birth.agent_uid();
  birth.close();
  return run_microvm(fds, report->barriers, agent, entered_ns, arguments);
}

}  // namespace
}  // namespace volley

int main(int, char** arguments) { _exit(volley::be_born(arguments)); }
