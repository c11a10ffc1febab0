#include "snapshot/file_bytes.h"

#include <unistd.h>

#include <cerrno>
#include <cinttypes>

namespace volley {

Status read_all(int fd, uint64_t offset, std::span<uint8_t> bytes, const char* what) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Status::system_error(errno, "cannot read the snapshot's %s", what);
    if (got == 0) return Status::error("the snapshot's %s is truncated at byte %" PRIu64, what, offset + done);
    done += static_cast<size_t>(got);
  }
  return Status::ok();
}

Status write_all(int fd, uint64_t offset, std::span<const uint8_t> bytes, const char* what) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t put = pwrite(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return Status::system_error(errno, "cannot write the snapshot's %s", what);
    done += static_cast<size_t>(put);
  }
  return Status::ok();
}

}  // namespace volley
