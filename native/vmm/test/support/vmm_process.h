#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "abi/volley_abi.h"
#include "base/mapping.h"
#include "base/unique_fd.h"

namespace volley::test {

// What a test asks of a launch. Paths default to what this build made.
struct LaunchOptions {
  std::string kernel_path = {};  // empty = the canary
  std::string cmdline = {};
  uint64_t memory_mib = 16;
  uint32_t vcpus = 1;
  uint32_t irqchip = VOLLEY_IRQCHIP_SPLIT;
  uint32_t flags = 0;
  std::function<void(volley_config&)> mutate = {};  // last word on the configuration
  std::string kvm_path = "/dev/kvm";                // what descriptor 3 is
  uint64_t page_file_size = VOLLEY_PAGES_SIZE;
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
  VmmProcess(const VmmProcess&) = delete;
  VmmProcess& operator=(const VmmProcess&) = delete;
  ~VmmProcess();

  // Opens a new agent connection and returns its descriptor.
  UniqueFd connect() const;
  // Makes `connection` the one that the calls below use.
  void use(UniqueFd connection) { connection_ = std::move(connection); }
  int connection() const { return connection_.get(); }

  void send(uint32_t type, uint32_t request_id);
  // The next packet, or nothing after five seconds or when the connection is closed.
  std::optional<volley_message> receive();
  // Packets until one of `type` comes.
  std::optional<volley_message> await(uint32_t type);
  // Sends a command and waits for its reply; the status, or -1.
  int command(uint32_t type);

  bool await_booted() { return await(VOLLEY_NOTE_BOOTED).has_value(); }
  // Waits for the process's end, for half a minute.
  std::optional<ProcessEnd> await_end();
  // Looks at the page file until `condition` holds; false after five seconds. For what no message announces.
  bool await_page(const std::function<bool(const volley_stats&)>& condition) const;

  const volley_stats& stats() const;
  uint32_t state() const;
  std::string serial() const;
  pid_t pid() const { return pid_; }
  // When clone3() was called, by the clock of the ABI; and that clock now.
  uint64_t launched_ns() const { return launched_ns_; }
  static uint64_t now_ns();
  int page_file() const { return page_file_.get(); }
  int listener() const { return listener_.get(); }
  // CPU time used so far by the first vCPU's thread, and by the control thread, in nanoseconds.
  uint64_t vcpu_cpu_ns() const { return thread_cpu_ns(static_cast<pid_t>(stats().vcpu_tids[0])); }
  uint64_t control_cpu_ns() const { return thread_cpu_ns(pid_); }

 private:
  uint64_t thread_cpu_ns(pid_t tid) const;

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
