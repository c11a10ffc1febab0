#include "support/fake_tap.h"

#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "net/vnet_header.h"
#include "support/demand.h"
#include "support/wrap.h"

extern "C" ssize_t __real_readv(int, const iovec*, int);
extern "C" ssize_t __real_writev(int, const iovec*, int);

namespace volley::fuzz {
namespace {

FakeTap* the_tap = nullptr;

int fail(int error_number) {
  errno = error_number;
  return -1;
}

}  // namespace

FakeTap::FakeTap(const uint8_t (&mac)[6]) {
  int ends[2];
  demand(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0, "no socket pair");
  near_.reset(ends[0]);
  far_.reset(ends[1]);
  memcpy(mac_, mac, sizeof(mac_));
  the_tap = this;
}

FakeTap::~FakeTap() { the_tap = nullptr; }

FakeTap* tap_of(int fd) { return the_tap != nullptr && the_tap->fd() == fd ? the_tap : nullptr; }

void FakeTap::send(const void* frame, size_t bytes) const {
  if (far_.is_open() && bytes != 0) ::send(far_.get(), frame, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void FakeTap::drain(unsigned frames) const {
  char ignored[16];
  while (frames-- != 0 && recv(far_.get(), ignored, sizeof(ignored), MSG_DONTWAIT) >= 0) {
  }
}

int FakeTap::control(unsigned long request, unsigned long argument) {
  switch (request) {
    case TUNGETIFF:
      reinterpret_cast<ifreq*>(argument)->ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
      return 0;
    case TUNSETVNETHDRSZ:
      return 0;
    case TUNSETOFFLOAD: {
      const unsigned long known = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
      demand((argument & ~known) == 0, "the tap is asked for offloads that the device does not offer");
      demand(argument == 0 || (argument & TUN_F_CSUM) != 0, "segmentation towards the guest without checksums");
      return refuses_offloads_ && argument != 0 ? fail(EINVAL) : 0;
    }
    default:
      return fail(ENOTTY);
  }
}

ssize_t FakeTap::read(const iovec* parts, int count) const {
  if (error_ != 0) return fail(error_);
  const ssize_t got = __real_readv(near_.get(), parts, count);
  return got == 0 ? fail(EBADFD) : got;
}

ssize_t FakeTap::write(const iovec* parts, int count) const {
  size_t bytes = 0;
  for (int i = 0; i < count; ++i) bytes += parts[i].iov_len;
  FrameStart start;
  demand(count > 0 && parts[0].iov_len >= sizeof(start), "a frame leaves whose start lies in the guest's memory");
  memcpy(&start, parts[0].iov_base, sizeof(start));
  const size_t frame = bytes - kVnetHeaderBytes;
  demand(bytes >= sizeof(start) && bytes <= kMaxOffloadFrame, "a frame of an impossible size leaves");
  demand(memcmp(start.source, mac_, sizeof(mac_)) == 0, "a frame leaves with another source address");
  demand((start.header.flags & ~1) == 0, "a frame leaves with flags of the other direction");
  demand(start.header.flags == 0 || size_t{start.header.checksum_start} + start.header.checksum_offset + 2 <= frame,
         "a checksum is asked for outside of its frame");
  demand(start.header.gso_type == 0 || (start.header.gso_size != 0 && start.header.flags == 1),
         "segmentation is asked for without size or checksum");
  if (error_ != 0) return fail(error_);
  return __real_writev(near_.get(), parts, count);
}

VOLLEY_WRAP(ssize_t, readv, int fd, const iovec* parts, int count) {
  FakeTap* const tap = tap_of(fd);
  return tap != nullptr ? tap->read(parts, count) : __real_readv(fd, parts, count);
}

VOLLEY_WRAP(ssize_t, writev, int fd, const iovec* parts, int count) {
  FakeTap* const tap = tap_of(fd);
  return tap != nullptr ? tap->write(parts, count) : __real_writev(fd, parts, count);
}

}  // namespace volley::fuzz
