// A jailed VMM process that waits to be told which microVM it is.
#ifndef VOLLEY_BINDING_SHELL_H
#define VOLLEY_BINDING_SHELL_H

#include <sys/types.h>

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "child_launcher.h"
#include "result.h"
#include "void_namespaces.h"

namespace volley {

/// What a VMM process shall live in; see volley_jail_order.
struct ShellOrder {
  uint32_t barriers = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t open_files = 0;
  uint64_t file_bytes = 0;
  std::vector<std::string> cgroup_paths;
};

/// A shell in our hands.
struct HeldShell {
  pid_t pid = 0;
  std::string start_ticks;
  uint32_t barriers = 0;
  UniqueFd pidfd;
  UniqueFd birth;
};

/// The void namespaces of this agent, made when the first shell asks for one. Safe to use from several threads.
class Nursery {
 public:
  explicit Nursery(int executable) : executable_(executable) {}

  /// On failure nothing is left. `failed` tells the barrier that could not be put up.
  Result<HeldShell> Make(ChildLauncher& launcher, const ShellOrder& order, uint32_t* failed = nullptr);

  struct Missing {
    uint32_t barrier = 0;
    std::string reason;
  };
  struct Possibilities {
    uint32_t barriers = 0;
    std::vector<Missing> missing;
  };
  /// Which barriers hold on this host for this agent: found by putting them up around processes that end at once.
  Possibilities Try(ChildLauncher& launcher);

 private:
  const VoidNamespaces& Voids();

  const int executable_;
  std::mutex mutex_;
  std::optional<VoidNamespaces> voids_;
};

}  // namespace volley

#endif
