#include "support/tap_network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/clock.h"

namespace volley::test {
namespace {

bool enter_own_namespace() {
  static const bool entered = unshare(CLONE_NEWNET) == 0;
  if (!entered) fprintf(stderr, "SKIPPED: no network namespace can be made (%s); run as root\n", strerror(errno));
  return entered;
}

sockaddr_in address_of(const std::string& address, uint16_t port) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_port = htons(port);
  inet_pton(AF_INET, address.c_str(), &result.sin_addr);
  return result;
}

bool set_address(int socket, ifreq request, unsigned long number, const char* address) {
  const sockaddr_in value = address_of(address, 0);
  memcpy(&request.ifr_addr, &value, sizeof value);
  return ioctl(socket, number, &request) == 0;
}

bool bring_up(const char* name) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
  if (!set_address(socket.get(), request, SIOCSIFADDR, "10.77.0.1") ||
      !set_address(socket.get(), request, SIOCSIFNETMASK, "255.255.255.0")) {
    return false;
  }
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  return ioctl(socket.get(), SIOCSIFFLAGS, &request) == 0;
}

uint16_t checksum(const uint8_t* data, size_t bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes; i += 2) {
    sum += static_cast<uint32_t>(data[i]) << 8 | (i + 1 < bytes ? data[i + 1] : 0u);
  }
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

}  // namespace

std::unique_ptr<TapNetwork> TapNetwork::make() {
  if (!enter_own_namespace()) return nullptr;
  UniqueFd tap(open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  ifreq request{};
  memcpy(request.ifr_name, "volley%d", sizeof "volley%d");
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (!tap.is_open() || ioctl(tap.get(), TUNSETIFF, &request) != 0 || !bring_up(request.ifr_name)) {
    fprintf(stderr, "SKIPPED: no tap can be made (%s)\n", strerror(errno));
    return nullptr;
  }
  auto network = std::make_unique<TapNetwork>();
  network->tap_ = std::move(tap);
  return network;
}

TapNetwork::~TapNetwork() = default;

bool TapNetwork::ping(const std::string& address, size_t bytes) {
  const UniqueFd socket(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP));
  const sockaddr_in to = address_of(address, 0);
  std::string packet(sizeof(icmphdr) + bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) packet[sizeof(icmphdr) + i] = static_cast<char>(i * 7);
  static uint16_t sequence = 0;
  ++sequence;
  icmphdr header{};
  header.type = ICMP_ECHO;
  header.un.echo.id = htons(static_cast<uint16_t>(getpid()));
  header.un.echo.sequence = htons(sequence);
  memcpy(packet.data(), &header, sizeof header);
  header.checksum = htons(checksum(reinterpret_cast<const uint8_t*>(packet.data()), packet.size()));
  memcpy(packet.data(), &header, sizeof header);
  if (sendto(socket.get(), packet.data(), packet.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) < 0) {
    perror("send an echo request");
    return false;
  }
  const uint64_t deadline = monotonic_ns() + 5'000'000'000;
  while (monotonic_ns() < deadline) {
    pollfd ready{socket.get(), POLLIN, 0};
    if (poll(&ready, 1, 1'000) <= 0) continue;
    char answer[4096];
    const ssize_t got = recv(socket.get(), answer, sizeof answer, 0);
    constexpr size_t kIpHeader = 20;
    if (got < static_cast<ssize_t>(kIpHeader + sizeof(icmphdr))) continue;
    icmphdr found;
    memcpy(&found, answer + kIpHeader, sizeof found);
    if (found.type != ICMP_ECHOREPLY || found.un.echo.id != header.un.echo.id ||
        found.un.echo.sequence != header.un.echo.sequence) {
      continue;
    }
    const auto data = static_cast<size_t>(got) - kIpHeader - sizeof(icmphdr);
    const bool sound = checksum(reinterpret_cast<const uint8_t*>(answer) + kIpHeader, sizeof(icmphdr) + data) == 0;
    return sound && data == bytes &&
           memcmp(answer + kIpHeader + sizeof(icmphdr), packet.data() + sizeof(icmphdr), bytes) == 0;
  }
  return false;
}

UniqueFd TapNetwork::udp(uint16_t port, int timeout_ms) {
  UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const sockaddr_in own = address_of("10.77.0.1", port);
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0) perror("bind a UDP socket");
  const int room = 8 << 20;
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  const timeval patience{timeout_ms / 1000, timeout_ms % 1000 * 1000};
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return socket;
}

bool TapNetwork::send(int socket, const std::string& address, uint16_t port, const std::string& data) {
  const sockaddr_in to = address_of(address, port);
  return sendto(socket, data.data(), data.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) ==
         static_cast<ssize_t>(data.size());
}

std::string TapNetwork::receive(int socket) {
  char data[65536];
  const ssize_t got = recv(socket, data, sizeof data, 0);
  return got < 0 ? std::string() : std::string(data, static_cast<size_t>(got));
}

}  // namespace volley::test
