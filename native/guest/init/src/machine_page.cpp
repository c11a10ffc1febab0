#include "machine_page.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abi/volley_abi.h"
#include "base/unique_fd.h"

namespace volley {
namespace {

constexpr size_t kSize = 4096;

}  // namespace

std::optional<GenerationId> read_generation_id() {
  const UniqueFd memory(::open("/dev/mem", O_RDONLY | O_CLOEXEC));
  GenerationId id;
  const auto length = static_cast<ssize_t>(id.size());
  if (!memory.is_open() || pread(memory.get(), id.data(), id.size(), VOLLEY_GENERATION_ID_ADDRESS) != length) {
    return std::nullopt;
  }
  return id;
}

MachinePage::~MachinePage() {
  if (page_ != nullptr) munmap(const_cast<uint8_t*>(page_), kSize);
}

int MachinePage::open() {
  const UniqueFd memory(::open("/dev/mem", O_RDWR | O_SYNC | O_CLOEXEC));
  if (!memory.is_open()) return errno;
  void* page = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(),
                    static_cast<off_t>(VOLLEY_BOOT_TIMER_ADDRESS));
  if (page == MAP_FAILED) return errno;
  // Sessions are children, and have no business with it.
  madvise(page, kSize, MADV_DONTFORK);
  page_ = static_cast<volatile uint8_t*>(page);
  return 0;
}

void MachinePage::tell_booted() {
  if (page_ != nullptr) *page_ = VOLLEY_BOOT_TIMER_VALUE;
}

void MachinePage::report(uint32_t value) {
  constexpr auto kOffset = VOLLEY_GUEST_REPORT_ADDRESS - VOLLEY_BOOT_TIMER_ADDRESS;
  if (page_ != nullptr) *reinterpret_cast<volatile uint32_t*>(page_ + kOffset) = value;
}

}  // namespace volley
