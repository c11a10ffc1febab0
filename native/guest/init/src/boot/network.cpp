#include "boot/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <string>

#include "base/text.h"
#include "base/unique_fd.h"

namespace volley {
namespace {

constexpr int kInterfaceTimeoutMs = 5'000;

int64_t now_ms() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
}

// A request to the kernel's routing socket, put together part by part.
class Request {
 public:
  template <typename Header>
  Request(uint16_t type, uint16_t flags, const Header& header) {
    nlmsghdr message{};
    message.nlmsg_type = type;
    message.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
    append(&message, sizeof(message));
    append(&header, sizeof(header));
  }

  template <typename Value>
  Request& with(uint16_t attribute, const Value& value) {
    const rtattr header{static_cast<uint16_t>(sizeof(rtattr) + sizeof(value)), attribute};
    append(&header, sizeof(header));
    append(&value, sizeof(value));
    return *this;
  }

  std::string_view bytes() {
    const auto length = static_cast<uint32_t>(bytes_.size());
    memcpy(bytes_.data(), &length, sizeof(length));
    return bytes_;
  }

 private:
  void append(const void* part, size_t length) {
    bytes_.append(static_cast<const char*>(part), length);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }

  std::string bytes_;
};

struct Link {
  int index = 0;
  std::array<uint8_t, 6> mac{};
};

class RoutingSocket {
 public:
  // Told about links that appear, from here on.
  int open() {
    socket_.reset(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    news_.reset(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
    if (!socket_.is_open() || !news_.is_open()) return errno;
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = RTMGRP_LINK;
    return bind(news_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 ? 0 : errno;
  }

  // Returns 0 or the kernel's errno.
  int ask(Request request) {
    const auto bytes = request.bytes();
    if (send(socket_.get(), bytes.data(), bytes.size(), 0) < 0) return errno;
    char answer[4096];
    const ssize_t length = recv(socket_.get(), answer, sizeof(answer), 0);
    if (length < static_cast<ssize_t>(sizeof(nlmsghdr) + sizeof(nlmsgerr))) return length < 0 ? errno : EPROTO;
    nlmsghdr header;
    nlmsgerr error;
    memcpy(&header, answer, sizeof(header));
    memcpy(&error, answer + NLMSG_HDRLEN, sizeof(error));
    return header.nlmsg_type == NLMSG_ERROR ? -error.error : EPROTO;
  }

  // All Ethernet interfaces.
  std::vector<Link> links() {
    std::vector<Link> found;
    ifinfomsg any{};
    any.ifi_family = AF_UNSPEC;
    Request request(RTM_GETLINK, NLM_F_DUMP, any);
    const auto bytes = request.bytes();
    if (send(socket_.get(), bytes.data(), bytes.size(), 0) < 0) return found;
    for (;;) {
      alignas(nlmsghdr) char answer[32 * 1024];
      auto left = static_cast<unsigned>(std::max<ssize_t>(recv(socket_.get(), answer, sizeof(answer), 0), 0));
      if (left == 0) return found;
      for (auto* one = reinterpret_cast<nlmsghdr*>(answer); NLMSG_OK(one, left); one = NLMSG_NEXT(one, left)) {
        if (one->nlmsg_type == NLMSG_DONE || one->nlmsg_type == NLMSG_ERROR) return found;
        if (one->nlmsg_type == RTM_NEWLINK) add_link(*one, found);
      }
    }
  }

  // Until something is told of any link, or the deadline.
  void wait(int64_t deadline) {
    const int64_t left = deadline - now_ms();
    pollfd one{news_.get(), POLLIN, 0};
    if (left <= 0 || poll(&one, 1, static_cast<int>(left)) != 1) return;
    char ignored[4096];
    while (recv(news_.get(), ignored, sizeof(ignored), 0) > 0) {
    }
  }

 private:
  static void add_link(const nlmsghdr& message, std::vector<Link>& found) {
    const auto* info = static_cast<const ifinfomsg*>(NLMSG_DATA(&message));
    auto left = static_cast<unsigned>(IFLA_PAYLOAD(&message));
    for (const rtattr* one = IFLA_RTA(info); RTA_OK(one, left); one = RTA_NEXT(one, left)) {
      Link link{info->ifi_index, {}};
      if (one->rta_type != IFLA_ADDRESS || RTA_PAYLOAD(one) != link.mac.size()) continue;
      memcpy(link.mac.data(), RTA_DATA(one), link.mac.size());
      found.push_back(link);
    }
  }

  UniqueFd socket_;
  UniqueFd news_;
};

int find_interface(RoutingSocket& routing, const std::array<uint8_t, 6>& mac, int64_t deadline) {
  for (;;) {
    for (const auto& link : routing.links()) {
      if (link.mac == mac) return link.index;
    }
    if (now_ms() >= deadline) return 0;
    routing.wait(deadline);
  }
}

int bring_up(RoutingSocket& routing, int index, uint32_t mtu) {
  ifinfomsg info{};
  info.ifi_family = AF_UNSPEC;
  info.ifi_index = index;
  info.ifi_flags = IFF_UP;
  info.ifi_change = IFF_UP;
  Request request(RTM_NEWLINK, NLM_F_ACK, info);
  if (mtu != 0) request.with(IFLA_MTU, mtu);
  return routing.ask(std::move(request));
}

int set_address(RoutingSocket& routing, int index, const InterfaceConfig& config) {
  ifaddrmsg info{};
  info.ifa_family = AF_INET;
  info.ifa_prefixlen = config.prefix;
  info.ifa_index = static_cast<unsigned>(index);
  const uint32_t address = htonl(config.address);
  Request request(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, info);
  request.with(IFA_LOCAL, address).with(IFA_ADDRESS, address);
  if (config.prefix < 31) {
    const uint32_t hosts = config.prefix == 0 ? ~0u : (1u << (32 - config.prefix)) - 1;
    request.with(IFA_BROADCAST, htonl(config.address | hosts));
  }
  return routing.ask(std::move(request));
}

int set_gateway(RoutingSocket& routing, int index, uint32_t gateway) {
  rtmsg route{};
  route.rtm_family = AF_INET;
  route.rtm_table = RT_TABLE_MAIN;
  route.rtm_protocol = RTPROT_BOOT;
  route.rtm_scope = RT_SCOPE_UNIVERSE;
  route.rtm_type = RTN_UNICAST;
  // It is there even where the prefix does not reach it.
  route.rtm_flags = RTNH_F_ONLINK;
  Request request(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, route);
  request.with(RTA_GATEWAY, htonl(gateway)).with(RTA_OIF, static_cast<uint32_t>(index));
  return routing.ask(std::move(request));
}

void set_up(RoutingSocket& routing, const InterfaceConfig& config, int64_t deadline) {
  const auto& mac = config.mac;
  const std::string name =
      format("the network interface %02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
  const int index = find_interface(routing, mac, deadline);
  if (index == 0) return say("%s did not come up within %d ms", name.c_str(), kInterfaceTimeoutMs);
  int error = bring_up(routing, index, config.mtu);
  if (error != 0) return say("%s", failed(name + " cannot be brought up", error).c_str());
  error = set_address(routing, index, config);
  if (error != 0) return say("%s", failed(name + " takes no address", error).c_str());
  if (config.gateway == 0) return;
  error = set_gateway(routing, index, config.gateway);
  if (error != 0) say("%s", failed(name + " takes no gateway", error).c_str());
}

}  // namespace

void set_up_network(const std::vector<InterfaceConfig>& interfaces) {
  RoutingSocket routing;
  if (const int error = routing.open(); error != 0) return say("%s", failed("there is no network", error).c_str());
  if (const int error = bring_up(routing, 1, 0); error != 0) say("%s", failed("no loopback interface", error).c_str());
  const int64_t deadline = now_ms() + kInterfaceTimeoutMs;
  for (const auto& one : interfaces) set_up(routing, one, deadline);
}

}  // namespace volley
