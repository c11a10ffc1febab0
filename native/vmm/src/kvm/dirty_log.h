#pragma once

#include <cstdint>
#include <span>

#include "abi/volley_abi.h"
#include "base/status.h"
#include "kvm/vm.h"
#include "memory/guest_memory.h"

namespace volley {

// KVM's record of the pages that the guest writes. It runs only while a snapshot needs it: meanwhile the first write to
// each page costs an exit, and huge pages are taken apart.
//
// With manual protection (Linux 5.2) KVM watches a page again when protect() says so: right before it is copied, so
// that what is written in between is not copied twice. Without, collect() has all pages watched at once.
class DirtyLog {
 public:
  DirtyLog(const Vm& vm, const GuestMemory& memory) : vm_(vm), memory_(memory) {}

  Status start();
  void stop();
  bool is_running() const { return running_; }
  // enum volley_snapshot_tracking
  uint32_t tracking() const;

  // Fills `words` with the pages that were written and not protected since, 64 to a word, the lowest bit first, in the
  // order of the host mapping. `words` has one bit for each page.
  Status collect(std::span<uint64_t> words) const;
  // From now on a write to one of the pages in `words` is seen; `words` begins at page 64 * first_word.
  Status protect(uint64_t first_word, std::span<const uint64_t> words) const;

 private:
  Status set_flags(uint32_t flags) const;

  const Vm& vm_;
  const GuestMemory& memory_;
  bool running_ = false;
};

}  // namespace volley
