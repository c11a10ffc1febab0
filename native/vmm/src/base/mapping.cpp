#include "base/mapping.h"

#include <sys/mman.h>

#include <cerrno>
#include <cinttypes>

namespace volley {

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    unmap();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

Status Mapping::map_shared(int fd, size_t size, const char* what) { return map(size, MAP_SHARED, fd, what); }

Status Mapping::map_anonymous(size_t size, const char* what) {
  return map(size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, what);
}

Status Mapping::map(size_t size, int flags, int fd, const char* what) {
  unmap();
  void* address = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (address == MAP_FAILED) return Status::system_error(errno, "cannot map %zu bytes of %s", size, what);
  data_ = static_cast<uint8_t*>(address);
  size_ = size;
  return Status::ok();
}

Status Mapping::overlay_private(int fd, uint64_t offset, uint64_t length, const char* what) {
  void* address = mmap(data_ + offset, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd,
                       static_cast<off_t>(offset));
  if (address == MAP_FAILED) return Status::system_error(errno, "cannot map %" PRIu64 " bytes of %s", length, what);
  return Status::ok();
}

void Mapping::unmap() {
  if (data_ != nullptr) munmap(data_, size_);
  data_ = nullptr;
  size_ = 0;
}

}  // namespace volley
