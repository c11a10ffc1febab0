#include "support/guarded_mappings.h"

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <map>

#include "support/demand.h"
#include "support/wrap.h"

extern "C" void* __real_mmap(void*, size_t, int, int, int, off_t);
extern "C" int __real_munmap(void*, size_t);

namespace volley::fuzz {
namespace {

constexpr size_t kPage = 4096;

struct Guarded {
  size_t size;
  bool kept;
};

std::map<uintptr_t, Guarded>& mappings() {
  static auto& all = *new std::map<uintptr_t, Guarded>;
  return all;
}

size_t whole_pages(size_t size) { return (size + kPage - 1) / kPage * kPage; }

void unguard(uintptr_t start, size_t size) {
  __asan_unpoison_memory_region(reinterpret_cast<void*>(start + size), whole_pages(size) - size);
  __real_munmap(reinterpret_cast<void*>(start - kPage), whole_pages(size) + 2 * kPage);
}

}  // namespace

void unmap_all() {
  auto& all = mappings();
  for (auto at = all.begin(); at != all.end();) {
    if (at->second.kept) {
      ++at;
      continue;
    }
    unguard(at->first, at->second.size);
    at = all.erase(at);
  }
}

void keep_mappings() {
  for (auto& [start, mapping] : mappings()) mapping.kept = true;
}

VOLLEY_WRAP(void*, mmap, void* address, size_t size, int protection, int flags, int fd, off_t offset) {
  if (fd != -1 || address != nullptr || size == 0) return __real_mmap(address, size, protection, flags, fd, offset);
  const size_t used = whole_pages(size);
  void* const room =
      __real_mmap(nullptr, used + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return MAP_FAILED;
  uint8_t* const start = static_cast<uint8_t*>(room) + kPage;
  if (mprotect(start, used, protection) != 0) {
    __real_munmap(room, used + 2 * kPage);
    errno = ENOMEM;
    return MAP_FAILED;
  }
  __asan_poison_memory_region(start + size, used - size);
  mappings()[reinterpret_cast<uintptr_t>(start)] = {size, false};
  return start;
}

VOLLEY_WRAP(int, munmap, void* address, size_t size) {
  const auto found = mappings().find(reinterpret_cast<uintptr_t>(address));
  if (found == mappings().end()) return __real_munmap(address, size);
  demand(found->second.size == size, "a mapping was given back in part");
  unguard(found->first, found->second.size);
  mappings().erase(found);
  return 0;
}

VOLLEY_WRAP(int, madvise, void* address, size_t size, int advice) {
  const auto start = reinterpret_cast<uintptr_t>(address);
  auto above = mappings().upper_bound(start);
  demand(above != mappings().begin(), "madvise() of memory that is nobody's");
  const auto& [base, mapping] = *--above;
  demand(start - base <= mapping.size && size <= mapping.size - (start - base), "madvise() beyond a mapping");
  return __real_madvise(address, size, advice);
}

}  // namespace volley::fuzz
