#include "net/tap.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "net/vnet_header.h"

namespace volley {
namespace {

Tap::Result failed(int error_number) {
  switch (error_number) {
    case EAGAIN:
      return {Tap::Outcome::kAgain, 0};
    case EBADF:
    case EBADFD:
    case ENODEV:
    case ENXIO:
      return {Tap::Outcome::kGone, 0};
    default:
      // EIO: the interface is down. EINVAL: the kernel found the frame broken. ENOBUFS, ENOMEM: not for this one.
      return {Tap::Outcome::kFailed, 0};
  }
}

}  // namespace

Status Tap::adopt(int fd) {
  ifreq request{};
  if (ioctl(fd, TUNGETIFF, &request) != 0) {
    return Status::system_error(errno, "descriptor %d is no tap: the agent opens /dev/net/tun and attaches it", fd);
  }
  const int wanted = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if ((request.ifr_flags & (wanted | IFF_TUN)) != wanted) {
    return Status::error("the tap's flags are %#x, needed are IFF_TAP|IFF_NO_PI|IFF_VNET_HDR", request.ifr_flags);
  }
  const int header_bytes = kVnetHeaderBytes;
  if (ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) != 0) {
    return Status::system_error(errno, "cannot set the size of the tap's headers");
  }
  if (ioctl(fd, TUNSETOFFLOAD, 0) != 0) return Status::system_error(errno, "cannot set the tap's offloads");
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
    return Status::system_error(errno, "cannot make the tap non-blocking");
  }
  fd_ = fd;
  return Status::ok();
}

bool Tap::set_offloads(unsigned offloads) const { return ioctl(fd_, TUNSETOFFLOAD, offloads) == 0; }

Tap::Result Tap::read(const iovec* parts, size_t count) const {
  for (;;) {
    const ssize_t got = readv(fd_, parts, static_cast<int>(count));
    if (got >= 0) return {Outcome::kDone, static_cast<size_t>(got)};
    if (errno != EINTR) return failed(errno);
  }
}

Tap::Result Tap::write(const iovec* parts, size_t count) const {
  for (;;) {
    const ssize_t sent = writev(fd_, parts, static_cast<int>(count));
    if (sent >= 0) return {Outcome::kDone, static_cast<size_t>(sent)};
    if (errno != EINTR) return failed(errno);
  }
}

}  // namespace volley
