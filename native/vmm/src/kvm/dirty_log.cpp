#include "kvm/dirty_log.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>

namespace volley {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kPagesOfWord = 64;

}  // namespace

Status DirtyLog::start() {
  Status status = set_flags(KVM_MEM_LOG_DIRTY_PAGES);
  running_ = true;
  if (!status.is_ok()) stop();
  return status;
}

void DirtyLog::stop() {
  if (!running_) return;
  running_ = false;
  // What cannot be taken back costs time and nothing else.
  [[maybe_unused]] const Status status = set_flags(0);
}

Status DirtyLog::set_flags(uint32_t flags) const {
  uint32_t slot = 0;
  for (const GuestRegion& region : memory_.regions()) {
    if (const int error = vm_.set_region(slot++, region, flags); error != 0) {
      return Status::system_error(error, "this host's KVM does not log what the guest writes");
    }
  }
  return Status::ok();
}

uint32_t DirtyLog::tracking() const {
  if (!running_) return VOLLEY_TRACKING_NONE;
  return vm_.protects_manually() ? VOLLEY_TRACKING_MANUAL : VOLLEY_TRACKING_PLAIN;
}

Status DirtyLog::collect(std::span<uint64_t> words) const {
  uint32_t slot = 0;
  uint64_t first = 0;
  for (const GuestRegion& region : memory_.regions()) {
    kvm_dirty_log request{};
    request.slot = slot++;
    request.dirty_bitmap = words.data() + first;
    if (ioctl(vm_.fd(), KVM_GET_DIRTY_LOG, &request) < 0) {
      return Status::system_error(errno, "cannot ask KVM what the guest has written");
    }
    // A second region begins at a multiple of 64 pages.
    first += region.size / kPage / kPagesOfWord;
  }
  return Status::ok();
}

Status DirtyLog::protect(uint64_t first_word, std::span<const uint64_t> words) const {
  if (!vm_.protects_manually()) return Status::ok();
  uint32_t slot = 0;
  uint64_t region_start = 0;
  for (const GuestRegion& region : memory_.regions()) {
    const uint64_t pages = region.size / kPage;
    const uint64_t region_end = region_start + (pages + kPagesOfWord - 1) / kPagesOfWord;
    const uint64_t from = std::max(first_word, region_start);
    const uint64_t to = std::min(first_word + words.size(), region_end);
    if (from < to) {
      kvm_clear_dirty_log request{};
      request.slot = slot;
      const uint64_t from_page = (from - region_start) * kPagesOfWord;
      request.first_page = from_page;
      // Less than a word only at the end of a region.
      request.num_pages = static_cast<uint32_t>(std::min((to - from) * kPagesOfWord, pages - from_page));
      // KVM reads it.
      request.dirty_bitmap = const_cast<uint64_t*>(words.data() + (from - first_word));
      if (ioctl(vm_.fd(), KVM_CLEAR_DIRTY_LOG, &request) < 0) {
        return Status::system_error(errno, "cannot have KVM watch pages again");
      }
    }
    region_start += pages / kPagesOfWord;
    ++slot;
  }
  return Status::ok();
}

}  // namespace volley
