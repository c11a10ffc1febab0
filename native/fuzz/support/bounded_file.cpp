#include "support/bounded_file.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "support/demand.h"
#include "support/wrap.h"

namespace volley::fuzz {
namespace {

BoundedFile* files[4] = {};

BoundedFile* find(int fd) {
  for (BoundedFile* file : files) {
    if (file != nullptr && file->fd() == fd) return file;
  }
  return nullptr;
}

// False if the call is to fail, with errno set.
bool may_change(int fd, off_t offset, uint64_t bytes) {
  const BoundedFile* const file = find(fd);
  if (file == nullptr) return true;
  demand(offset >= 0, "a disk is written before its start");
  const auto start = static_cast<uint64_t>(offset);
  demand(start <= file->end() && bytes <= file->end() - start, "a disk is written outside of its bounds");
  errno = file->error();
  return file->error() == 0;
}

bool may_read(int fd) {
  const BoundedFile* const file = find(fd);
  if (file == nullptr || file->error() == 0) return true;
  errno = file->error();
  return false;
}

}  // namespace

BoundedFile::BoundedFile(uint64_t bytes, uint64_t end) : fd_(memfd_create("disk", MFD_CLOEXEC)), end_(end) {
  demand(fd_.is_open() && ftruncate(fd_.get(), static_cast<off_t>(bytes)) == 0, "no memory file");
  *std::find(std::begin(files), std::end(files), nullptr) = this;
}

BoundedFile::~BoundedFile() { *std::find(std::begin(files), std::end(files), this) = nullptr; }

uint64_t BoundedFile::size() const {
  struct stat file {};
  fstat(fd_.get(), &file);
  return static_cast<uint64_t>(file.st_size);
}

void BoundedFile::write(uint64_t offset, const void* bytes, size_t count) const {
  [[maybe_unused]] const ssize_t written = pwrite(fd_.get(), bytes, count, static_cast<off_t>(offset));
}

VOLLEY_WRAP(ssize_t, preadv, int fd, const iovec* parts, int count, off_t offset) {
  demand(offset >= 0, "a disk is read before its start");
  return may_read(fd) ? __real_preadv(fd, parts, count, offset) : -1;
}

VOLLEY_WRAP(ssize_t, pwritev, int fd, const iovec* parts, int count, off_t offset) {
  uint64_t bytes = 0;
  for (int i = 0; i < count; ++i) bytes += parts[i].iov_len;
  return may_change(fd, offset, bytes) ? __real_pwritev(fd, parts, count, offset) : -1;
}

VOLLEY_WRAP(int, fallocate, int fd, int mode, off_t offset, off_t length) {
  demand(length > 0, "a hole of no size, or less");
  return may_change(fd, offset, static_cast<uint64_t>(length)) ? __real_fallocate(fd, mode, offset, length) : -1;
}

VOLLEY_WRAP(int, fdatasync, int fd) { return may_read(fd) ? 0 : -1; }

}  // namespace volley::fuzz
