#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "abi/volley_abi.h"
#include "base/mapping.h"
#include "base/unique_fd.h"
#include "orders.h"

namespace volley::test {

// What the process lives in. By default as the caller, behind all barriers that need no rights.
struct ShellOptions {
  uint32_t barriers = VOLLEY_BARRIER_CAPABILITIES | VOLLEY_BARRIER_RLIMITS | VOLLEY_BARRIER_SECCOMP;
  uint32_t uid = getuid();
  uint32_t gid = getgid();
  uint32_t open_files = 256;
  uint64_t file_bytes = UINT64_MAX;
  std::vector<PassedFd> namespaces = {};
  std::string vmm_path = {};  // empty = the one of this build
  std::vector<std::string> environment = {};
};

// What a test asks of a launch. Paths default to what this build made.
struct LaunchOptions {
  std::string kernel_path = {};  // empty = the canary
  bool boots = true;             // false: no kernel, for a restore
  std::string cmdline = {};
  uint64_t memory_mib = 16;
  uint32_t vcpus = 1;
  uint32_t irqchip = VOLLEY_IRQCHIP_SPLIT;
  uint32_t flags = 0;
  std::function<void(volley_config&)> mutate = {};  // last word on the configuration
  std::string kvm_path = "/dev/kvm";                // empty = none is passed
  uint64_t page_file_size = VOLLEY_PAGES_SIZE;
  std::vector<PassedFd> descriptors = {};  // of devices, initrd, ...: lent until the constructor returns
  ShellOptions shell = {};
};

// A VMM process that waits for its launch order.
class ShellProcess {
 public:
  explicit ShellProcess(const ShellOptions& options);
  ShellProcess(ShellProcess&& other) noexcept
      : socket(std::move(other.socket)), pidfd(std::move(other.pidfd)), pid(std::exchange(other.pid, -1)) {}
  ShellProcess& operator=(ShellProcess&&) = delete;
  ~ShellProcess();

  // The report on its jail; empty when the process ended without one.
  std::optional<volley_shell_report> report() const;

  UniqueFd socket;
  UniqueFd pidfd;
  pid_t pid = -1;
};

// How the process ended.
struct ProcessEnd {
  bool exited;  // false: killed by `code`
  int code;
};

// Plays the agent: starts one real VMM through the ABI and talks to it. Kills it when it goes out of scope.
class VmmProcess {
 public:
  explicit VmmProcess(const LaunchOptions& options);
  // Launches into a shell that is there; options.shell is ignored.
  VmmProcess(const LaunchOptions& options, ShellProcess shell);
  VmmProcess(const VmmProcess&) = delete;
  VmmProcess& operator=(const VmmProcess&) = delete;
  ~VmmProcess();

  // Opens a new agent connection and returns its descriptor.
  UniqueFd connect() const;
  // Makes `connection` the one that the calls below use.
  void use(UniqueFd connection) { connection_ = std::move(connection); }
  int connection() const { return connection_.get(); }

  void send(uint32_t type, uint32_t request_id);
  // The same with two of them.
  void send(const volley_message& message, int fd, int second);
  // The next packet, or nothing after five seconds or when the connection is closed.
  std::optional<volley_message> receive();
  // Packets until one of `type` comes.
  std::optional<volley_message> await(uint32_t type);
  // Sends a command and waits for its reply; the status, or -1.
  int command(uint32_t type);
  // The same for a command with content; its request id is filled in. Nothing if no reply came.
  std::optional<volley_message> request(volley_message message);
  // Sends a message, with a descriptor unless that is -1.
  void send(const volley_message& message, int fd = -1);

  bool await_booted() { return await(VOLLEY_NOTE_BOOTED).has_value(); }
  // Waits for the process's end, for half a minute.
  std::optional<ProcessEnd> await_end();
  // Looks at the page file until `condition` holds; false after five seconds. For what no message announces.
  bool await_page(const std::function<bool(const volley_stats&)>& condition) const;

  const volley_stats& stats() const;
  uint32_t state() const;
  std::string serial() const;
  pid_t pid() const { return pid_; }
  // When the launch began (before the process was made, unless a shell was there), by the clock of the ABI; and that
  // clock now.
  uint64_t launched_ns() const { return launched_ns_; }
  static uint64_t now_ns();
  int page_file() const { return page_file_.get(); }
  int listener() const { return listener_.get(); }
  // CPU time used so far by the first vCPU's thread, and by the control thread, in nanoseconds.
  uint64_t vcpu_cpu_ns() const { return thread_cpu_ns(static_cast<pid_t>(stats().vcpu_tids[0])); }
  uint64_t control_cpu_ns() const { return thread_cpu_ns(pid_); }

 private:
  uint64_t thread_cpu_ns(pid_t tid) const;
  void launch(const LaunchOptions& options, ShellProcess shell);

  UniqueFd listener_;
  UniqueFd page_file_;
  Mapping pages_;
  UniqueFd pidfd_;
  UniqueFd connection_;
  pid_t pid_ = -1;
  uint64_t launched_ns_ = 0;
  uint32_t next_request_ = 1;
};

// False (and a sentence on stderr) where there is no usable /dev/kvm.
bool kvm_available();

}  // namespace volley::test
