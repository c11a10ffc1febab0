// Launching a VMM, taking over one that another agent launched, and finding one whose identity was lost.
// All of it blocks for a little while and runs on launcher threads.
#ifndef VOLLEY_BINDING_LAUNCH_H
#define VOLLEY_BINDING_LAUNCH_H

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/unique_fd.h"
#include "events.h"
#include "page_file.h"
#include "result.h"
#include "shell.h"

namespace volley {

struct DeviceOrder {
  volley_device device{};
  std::string path;          // block
  std::string overlay_path;  // block; empty = none
  int tap_fd = -1;           // net; the caller's, open until the launch is answered
};

struct LaunchOrder {
  std::string id;
  std::string directory;
  std::string kernel_path;
  std::string restore_directory;  // of a snapshot, instead of a kernel; empty = none
  std::string initrd_path;        // empty = none
  std::string initrd_extra;       // the archive itself; empty = none
  std::string cmdline;
  std::vector<DeviceOrder> devices;
  volley_limiter serial_limit{};
  uint32_t boot_protocol = 0;
  uint32_t irqchip = 0;
  uint32_t vcpus = 0;
  uint64_t memory_bytes = 0;
};

struct AdoptOrder {
  std::string id;
  std::string directory;
  std::string start_ticks;
  std::string boot_id;
  pid_t pid = 0;
};

/// A running VMM in our hands.
struct HeldVmm {
  pid_t pid = 0;
  bool is_child = false;
  std::string start_ticks;
  uint64_t launched_ns = 0;
  uint64_t booted_ns = 0;
  UniqueFd pidfd;
  UniqueFd control;  // absent when an adopted VMM does not answer: it can still be watched and killed
  std::shared_ptr<const PageFile> pages;
  std::string directory;
  std::vector<uint32_t> devices;  // enum volley_device_type of each
};

/// The files of a launch and all that it hands over, but for the process.
struct PreparedLaunch;
struct PreparedLaunchDeleter {
  void operator()(PreparedLaunch* prepared) const;
};
using PreparedLaunchPointer = std::unique_ptr<PreparedLaunch, PreparedLaunchDeleter>;

/// Opens and makes everything. What it made is removed again unless the launch succeeds. `kvm_device`: empty = the VMM
/// runs no guest and gets none. `primed`: the snapshot with which the shell is primed that it is for, empty = none;
/// EINVAL when the order is for something else, ENOTSUP when it is for a snapshot and there is no KVM.
Result<PreparedLaunchPointer> PrepareLaunch(const LaunchOrder& order, uint64_t launched_ns,
                                            const std::string& kvm_device, const std::string& primed = {});

/// Has the shell at the other end of this socket make all of a clone of the snapshot in `directory` that is nobody's
/// own, and waits for that. On failure the shell is of no use any more.
Result<bool> Prime(int birth, const std::string& directory, const std::string& kvm_device);

/// Tells the shell which microVM it is: one packet. The shell's pidfd and identity go over to the result; on failure
/// the shell is of no use any more, and the caller's to end.
Result<HeldVmm> LaunchInto(HeldShell& shell, PreparedLaunchPointer prepared);

/// The evidence is there when the remembered process no longer runs.
std::variant<HeldVmm, ExitEvidence> AdoptVmm(const AdoptOrder& order, const std::string& boot_id);

struct FoundVmm {
  pid_t pid = 0;
  std::string start_ticks;
};
/// Finds the process that the page file in `directory` was handed to, if it still runs as this microVM's VMM.
std::optional<FoundVmm> FindVmm(const std::string& id, const std::string& directory);

/// What the page file says about the end of its VMM.
ExitEvidence ReadExitEvidence(const PageFile& pages);

/// Whether the process behind a pidfd has ended.
bool HasEnded(int pidfd);

/// Ends a child at once and waits for it.
void KillAndReap(int pidfd);

}  // namespace volley

#endif
