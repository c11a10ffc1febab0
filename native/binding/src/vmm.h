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

#include "page_file.h"
#include "unique_fd.h"

namespace volley {

/// One VMM process that this agent knows. Shared by the JavaScript thread, the monitor and a launcher thread.
struct Vmm {
  uint32_t handle = 0;
  pid_t pid = 0;
  bool is_child = false;
  uint64_t launched_ns = 0;
  std::shared_ptr<const PageFile> pages;  // replaced by null on release, under the mutex
  std::atomic<bool> kill_requested{false};

  std::mutex mutex;  // guards all below, and the numbers behind the descriptors against reuse
  UniqueFd pidfd;
  UniqueFd control;
  /// Requests sent and not answered: answers to anything else are not passed on.
  std::vector<uint32_t> awaited;
  uint32_t unsolicited = 0;
  bool boot_reported = false;
  bool released = false;

  std::shared_ptr<const PageFile> Pages() {
    std::lock_guard lock(mutex);
    return pages;
  }
};

}  // namespace volley

#endif
