#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "base/unique_fd.h"
#include "net/vnet_header.h"

namespace volley::test {

// Moves the process into a network namespace of its own, where a test may make taps. False, with a sentence on stderr,
// where that is not allowed or there is no tun driver.
inline bool enter_network_namespace() {
  if (access("/dev/net/tun", R_OK | W_OK) != 0) {
    fprintf(stderr, "SKIPPED: /dev/net/tun cannot be opened: %s\n", strerror(errno));
    return false;
  }
  if (unshare(CLONE_NEWNET) != 0) {
    fprintf(stderr, "SKIPPED: no network namespace of our own: %s (run as root)\n", strerror(errno));
    return false;
  }
  // Else the kernel sends neighbour discovery of its own through the taps.
  const UniqueFd knob(open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC));
  if (knob.is_open() && write(knob.get(), "1", 1) != 1) fprintf(stderr, "IPv6 stays on\n");
  return true;
}

// A tap that is up, with the host's side of it as a raw socket.
class RawTap {
 public:
  explicit RawTap(const char* name, int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, int mtu = 1500) : name_(name) {
    tap.reset(open("/dev/net/tun", O_RDWR | O_CLOEXEC));
    ifreq request = named();
    request.ifr_flags = static_cast<short>(flags);
    must(ioctl(tap.get(), TUNSETIFF, &request), "TUNSETIFF");
    const UniqueFd control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    request = named();
    request.ifr_mtu = mtu;
    must(ioctl(control.get(), SIOCSIFMTU, &request), "SIOCSIFMTU");
    set_up(true);
    request = named();
    must(ioctl(control.get(), SIOCGIFINDEX, &request), "SIOCGIFINDEX");
    host_.reset(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)));
    const int one = 1;
    must(setsockopt(host_.get(), SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), "PACKET_VNET_HDR");
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = request.ifr_ifindex;
    must(bind(host_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), "bind");
  }
  const std::string& name() const { return name_; }
  void set_up(bool up) {
    const UniqueFd control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request = named();
    request.ifr_flags = static_cast<short>(up ? IFF_UP : 0);
    must(ioctl(control.get(), SIOCSIFFLAGS, &request), "SIOCSIFFLAGS");
  }
  // The interface is taken away while its descriptor stays open.
  void remove() {
    const std::string command = "ip link del " + name_;
    must(system(command.c_str()), command.c_str());
  }

  // Sends a frame towards the guest. `header` as of struct virtio_net_hdr: the first ten bytes count.
  bool send(const std::string& frame, VnetHeader header = {}) {
    iovec parts[] = {{&header, 10}, {const_cast<char*>(frame.data()), frame.size()}};
    return writev(host_.get(), parts, 2) == static_cast<ssize_t>(10 + frame.size());
  }
  // The next frame from the guest (not one that was sent to it), with its header. Empty after `wait_ms` without one.
  std::string receive(int wait_ms = 60'000, VnetHeader* header = nullptr) {
    std::string bytes(70'000, '\0');
    for (;;) {
      pollfd watched{host_.get(), POLLIN, 0};
      if (poll(&watched, 1, wait_ms) != 1) return {};
      sockaddr_ll from{};
      socklen_t size = sizeof(from);
      const ssize_t got =
          recvfrom(host_.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (got < 10) return {};
      if (from.sll_pkttype == PACKET_OUTGOING) continue;
      if (header != nullptr) memcpy(header, bytes.data(), 10);
      return bytes.substr(10, static_cast<size_t>(got) - 10);
    }
  }

  UniqueFd tap;

 private:
  ifreq named() const {
    ifreq request{};
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name_.c_str());
    return request;
  }
  static void must(int result, const char* what) {
    if (result == 0) return;
    fprintf(stderr, "%s failed: %s\n", what, strerror(errno));
    abort();
  }

  std::string name_;
  UniqueFd host_;
};

}  // namespace volley::test
