// Starts a VMM as a process of its own: clone3 with a pidfd, exec by descriptor. One launcher per thread.
#ifndef VOLLEY_BINDING_CHILD_LAUNCHER_H
#define VOLLEY_BINDING_CHILD_LAUNCHER_H

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <memory>

#include "base/unique_fd.h"
#include "result.h"

namespace volley {

/// argv[0] of every VMM. argv[1] is blank and long enough for any id: the VMM writes its microVM's there as soon as it
/// knows which one it is, so that `ps` names what runs.
inline constexpr char kVmmTitle[] = "volley-vmm";

struct Child {
  pid_t pid = 0;
  UniqueFd pidfd;
};

/// What a child is born with. Descriptors are the launcher's to lend.
struct ChildOrder {
  int executable = -1;
  int birth = -1;         // becomes VOLLEY_FD_BIRTH
  int cgroup = -1;        // directory of a cgroup v2 to be born in, -1 = the agent's own
  bool own_pids = false;  // in a pid namespace of its own
};

/// The child shares the agent's memory until it execs (as vfork does), so that the cost does not grow with the size of
/// Node's heap. It also shares the agent's descriptor table for its first moments: copying a table with three
/// descriptors per microVM would make each launch slower than the one before. It cuts itself loose with a
/// close_range that copies only what is below a line, and everything it needs lies below that line: in slots with low
/// numbers that this object reserves when the agent starts.
class ChildLauncher {
 public:
  static Result<std::unique_ptr<ChildLauncher>> Make();
  ~ChildLauncher();
  ChildLauncher(const ChildLauncher&) = delete;
  ChildLauncher& operator=(const ChildLauncher&) = delete;

  /// Returns when the child has exec'ed, or with the call that failed in it; then nothing of it is left.
  /// The calling thread must have all signals blocked: a handler run in the child would write to the agent's memory.
  Result<Child> Spawn(const ChildOrder& order);

 private:
  ChildLauncher() = default;

  static constexpr size_t kSlots = 3;
  static constexpr size_t kStackBytes = 64 * 1024;

  UniqueFd null_;
  std::array<UniqueFd, kSlots> slots_;
  void* stack_ = nullptr;
};

}  // namespace volley

#endif
