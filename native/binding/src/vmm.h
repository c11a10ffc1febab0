#ifndef VOLLEY_BINDING_VMM_H
#define VOLLEY_BINDING_VMM_H

#include <sys/types.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "page_file.h"
#include "proc.h"

namespace volley {

/// One VMM process that this agent knows, a shell at first if it was launched here. Shared by the JavaScript thread,
/// the monitor and a launcher thread.
struct Vmm {
  uint32_t handle = 0;
  pid_t pid = 0;
  bool is_child = false;
  uint64_t launched_ns = 0;
  std::string id;
  std::string directory;
  std::vector<uint32_t> devices;          // enum volley_device_type of each
  std::shared_ptr<const PageFile> pages;  // replaced by null on release, under the mutex
  std::atomic<bool> kill_requested{false};

  std::mutex mutex;  // guards all below, and the numbers behind the descriptors against reuse
  UniqueFd pidfd;
  UniqueFd control;
  /// Requests sent and not answered: answers to anything else are not passed on.
  std::vector<uint32_t> awaited;
  uint32_t unsolicited = 0;
  bool boot_reported = false;
  bool is_shell =
      false;  // it has not been told which microVM it is; pages, control and the names above are not set yet
  std::string start_ticks;  // of a shell
  UniqueFd birth;           // of a shell; away while it is being primed
  std::string primed;       // of a shell: the snapshot that its microVM will go on from; empty = it can be any
  uint64_t asks_since_ns = 0;
  uint32_t asks = 0;  // since asks_since_ns
  bool released = false;

  /// What the VMM says its vCPU threads are, and what they are here: looked up when the former changes.
  std::vector<uint32_t> own_tids;
  std::vector<uint32_t> tids;

  std::vector<uint32_t> VcpuTids(const volley_stats& stats) {
    std::vector<uint32_t> own(std::begin(stats.vcpu_tids), std::end(stats.vcpu_tids));
    std::erase(own, 0u);
    if ((stats.barriers & VOLLEY_BARRIER_PIDS) == 0) return own;
    std::lock_guard lock(mutex);
    if (own != own_tids && pidfd.is_open()) {
      tids = ThreadIdsSeenHere(pid, own);
      own_tids = std::move(own);
    }
    return tids;
  }

  std::shared_ptr<const PageFile> Pages() {
    std::lock_guard lock(mutex);
    return pages;
  }
};

}  // namespace volley

#endif
