#include "block/file_io.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstring>

namespace volley {
namespace {

constexpr size_t kParts = 64;
constexpr size_t kZeroBytes = 4096;
// Only ever read: costs no memory of its own.
alignas(64) const uint8_t kZeros[kZeroBytes] = {};

// preadv() or pwritev() until all of `data` went. A loop over slices instead of changing one vector in place: partial
// transfers are rare.
template <typename Call>
int transfer(Call call, int fd, uint64_t offset, const GuestData& data) {
  uint64_t done = 0;
  while (done < data.length) {
    iovec parts[kParts];
    const size_t count = slice(data.buffers, data.start + done, data.length - done, parts);
    const ssize_t went = call(fd, parts, static_cast<int>(count), static_cast<off_t>(offset + done));
    if (went < 0 && errno == EINTR) continue;
    if (went < 0) return errno;
    if (went == 0) return EIO;
    done += static_cast<uint64_t>(went);
  }
  return 0;
}

int write_zero_bytes(int fd, uint64_t offset, uint64_t length) {
  GuestBuffer zeros[kParts];
  for (GuestBuffer& part : zeros) part = {const_cast<uint8_t*>(kZeros), kZeroBytes};
  for (uint64_t done = 0; done < length;) {
    const uint64_t bytes = std::min<uint64_t>(length - done, kParts * kZeroBytes);
    if (const int error = write_data(fd, offset + done, {zeros, 0, bytes}); error != 0) return error;
    done += bytes;
  }
  return 0;
}

int allocate(int fd, int mode, uint64_t offset, uint64_t length) {
  while (fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(length)) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

bool is_unsupported(int error) { return error == EOPNOTSUPP || error == EINVAL || error == ENOSYS || error == ENODEV; }

Status lock_file(int fd, bool writable, uint32_t device, const char* what) {
  struct flock lock {};
  lock.l_type = writable ? F_WRLCK : F_RDLCK;
  lock.l_whence = SEEK_SET;
  if (fcntl(fd, F_OFD_SETLK, &lock) == 0) return Status::ok();
  if (errno == EAGAIN || errno == EACCES) {
    return Status::system_error(EBUSY, "%s of device %u is in use by another microVM%s", what, device,
                                writable ? "" : " that writes to it");
  }
  return Status::system_error(errno, "cannot lock %s of device %u", what, device);
}

}  // namespace

int read_bytes(int fd, uint64_t offset, std::span<uint8_t> to) {
  const GuestBuffer whole{to.data(), to.size()};
  return read_data(fd, offset, {{&whole, 1}, 0, to.size()});
}

int write_bytes(int fd, uint64_t offset, std::span<const uint8_t> from) {
  const GuestBuffer whole{const_cast<uint8_t*>(from.data()), from.size()};
  return write_data(fd, offset, {{&whole, 1}, 0, from.size()});
}

int read_data(int fd, uint64_t offset, const GuestData& to) { return transfer(preadv, fd, offset, to); }

int write_data(int fd, uint64_t offset, const GuestData& from) { return transfer(pwritev, fd, offset, from); }

void zero_data(const GuestData& to) {
  uint64_t done = 0;
  while (done < to.length) {
    iovec parts[kParts];
    const size_t count = slice(to.buffers, to.start + done, to.length - done, parts);
    for (size_t i = 0; i < count; ++i) {
      memset(parts[i].iov_base, 0, parts[i].iov_len);
      done += parts[i].iov_len;
    }
    if (count == 0) return;
  }
}

int punch_hole(int fd, uint64_t offset, uint64_t length) { return allocate(fd, FALLOC_FL_PUNCH_HOLE, offset, length); }

int zero_range(int fd, uint64_t offset, uint64_t length, bool unmap) {
  if (length == 0) return 0;
  const int error = unmap ? punch_hole(fd, offset, length) : allocate(fd, FALLOC_FL_ZERO_RANGE, offset, length);
  return is_unsupported(error) ? write_zero_bytes(fd, offset, length) : error;
}

Status adopt_disk_file(int fd, bool writable, uint32_t device, const char* what, uint64_t* size) {
  if (fd < 0) return Status::error("%s of device %u was not passed", what, device);
  struct stat file {};
  if (fstat(fd, &file) != 0) return Status::system_error(errno, "cannot stat %s of device %u", what, device);
  if (!S_ISREG(file.st_mode) && !S_ISBLK(file.st_mode)) {
    return Status::error("%s of device %u is neither a regular file nor a block device", what, device);
  }
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return Status::system_error(errno, "cannot look at %s of device %u", what, device);
  const int mode = flags & O_ACCMODE;
  if (writable ? mode != O_RDWR : mode == O_WRONLY) {
    return Status::error("%s of device %u is not open for %s", what, device,
                         writable ? "reading and writing" : "reading");
  }
  if (writable && (flags & O_APPEND) != 0) {
    return Status::error("%s of device %u is open for appending: every write would go to its end", what, device);
  }
  const off_t end = lseek(fd, 0, SEEK_END);
  if (end < 0) return Status::system_error(errno, "cannot tell the size of %s of device %u", what, device);
  *size = static_cast<uint64_t>(end);
  return lock_file(fd, writable, device, what);
}

}  // namespace volley
