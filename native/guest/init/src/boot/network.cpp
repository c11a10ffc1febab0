#include "boot/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "base/monotonic_clock.h"
#include "base/text.h"
#include "base/unique_fd.h"

namespace volley {
namespace {

constexpr int kInterfaceTimeoutMs = 5'000;

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
    list(Request(RTM_GETLINK, NLM_F_DUMP, any), RTM_NEWLINK, [&](const nlmsghdr& one) { add_link(one, found); });
    return found;
  }

  // The IPv4 addresses of an interface: each with what removes it.
  std::vector<Request> removals(int index) {
    std::vector<Request> found;
    ifaddrmsg any{};
    any.ifa_family = AF_INET;
    list(Request(RTM_GETADDR, NLM_F_DUMP, any), RTM_NEWADDR,
         [&](const nlmsghdr& one) { add_removal(one, index, found); });
    return found;
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

  static void add_removal(const nlmsghdr& message, int index, std::vector<Request>& found) {
    const auto* info = static_cast<const ifaddrmsg*>(NLMSG_DATA(&message));
    if (static_cast<int>(info->ifa_index) != index) return;
    auto left = static_cast<unsigned>(IFA_PAYLOAD(&message));
    for (const rtattr* one = IFA_RTA(info); RTA_OK(one, left); one = RTA_NEXT(one, left)) {
      uint32_t address = 0;
      if (one->rta_type != IFA_LOCAL || RTA_PAYLOAD(one) != sizeof(address)) continue;
      memcpy(&address, RTA_DATA(one), sizeof(address));
      Request request(RTM_DELADDR, NLM_F_ACK, *info);
      found.push_back(std::move(request.with(IFA_LOCAL, address)));
    }
  }

  template <typename Take>
  void list(Request request, uint16_t type, Take take) {
    const auto bytes = request.bytes();
    if (send(socket_.get(), bytes.data(), bytes.size(), 0) < 0) return;
    for (;;) {
      alignas(nlmsghdr) char answer[32 * 1024];
      auto left = static_cast<unsigned>(std::max<ssize_t>(recv(socket_.get(), answer, sizeof(answer), 0), 0));
      if (left == 0) return;
      for (auto* one = reinterpret_cast<nlmsghdr*>(answer); NLMSG_OK(one, left); one = NLMSG_NEXT(one, left)) {
        if (one->nlmsg_type == NLMSG_DONE || one->nlmsg_type == NLMSG_ERROR) return;
        if (one->nlmsg_type == type) take(*one);
      }
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

// Also forgets the routes of the interface and its neighbours.
int take_down(RoutingSocket& routing, int index) {
  ifinfomsg info{};
  info.ifi_family = AF_UNSPEC;
  info.ifi_index = index;
  info.ifi_change = IFF_UP;
  return routing.ask(Request(RTM_NEWLINK, NLM_F_ACK, info));
}

int set_mac(RoutingSocket& routing, int index, const std::array<uint8_t, 6>& mac) {
  ifinfomsg info{};
  info.ifi_family = AF_UNSPEC;
  info.ifi_index = index;
  Request request(RTM_NEWLINK, NLM_F_ACK, info);
  return routing.ask(std::move(request.with(IFLA_ADDRESS, mac)));
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

std::string name_of(const InterfaceConfig& config) {
  const auto& mac = config.mac;
  return format("the network interface %02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

// Returns 0 or an errno.
int set_up(RoutingSocket& routing, int index, const InterfaceConfig& config, std::string& problem) {
  const auto fails = [&](const char* how, int error) {
    problem = failed(name_of(config) + how, error);
    return error;
  };
  if (const int error = bring_up(routing, index, config.mtu); error != 0) return fails(" cannot be brought up", error);
  if (const int error = set_address(routing, index, config); error != 0) return fails(" takes no address", error);
  if (config.gateway == 0) return 0;
  const int error = set_gateway(routing, index, config.gateway);
  return error == 0 ? 0 : fails(" takes no gateway", error);
}

// Those that stand for devices: not loopback, nor what programs of the guest have made.
std::vector<Link> devices(RoutingSocket& routing) {
  std::vector<Link> found = routing.links();
  std::erase_if(found, [](const Link& link) {
    char name[IF_NAMESIZE] = "";
    if (if_indextoname(static_cast<unsigned>(link.index), name) == nullptr) return true;
    return access(format("/sys/class/net/%s/device", name).c_str(), F_OK) != 0;
  });
  std::sort(found.begin(), found.end(), [](const Link& one, const Link& other) { return one.index < other.index; });
  return found;
}

int change(RoutingSocket& routing, const Link& link, const InterfaceConfig& config, std::string& problem) {
  if (link.mac == config.mac) return 0;
  int error = take_down(routing, link.index);
  if (error == 0) error = set_mac(routing, link.index, config.mac);
  for (auto& removal : routing.removals(link.index)) {
    if (error == 0) error = routing.ask(std::move(removal));
  }
  if (error != 0) {
    problem = failed(name_of(config) + " cannot take the place of the one before", error);
    return error;
  }
  return set_up(routing, link.index, config, problem);
}

}  // namespace

void set_up_network(const std::vector<InterfaceConfig>& interfaces) {
  RoutingSocket routing;
  if (const int error = routing.open(); error != 0) return say("%s", failed("there is no network", error).c_str());
  if (const int error = bring_up(routing, 1, 0); error != 0) say("%s", failed("no loopback interface", error).c_str());
  const int64_t deadline = now_ms() + kInterfaceTimeoutMs;
  for (const auto& one : interfaces) {
    const int index = find_interface(routing, one.mac, deadline);
    std::string problem = format("%s did not come up within %d ms", name_of(one).c_str(), kInterfaceTimeoutMs);
    if (index == 0 || set_up(routing, index, one, problem) != 0) say("%s", problem.c_str());
  }
}

int change_network(const std::vector<InterfaceConfig>& interfaces, std::string& problem) {
  if (interfaces.empty()) return 0;
  RoutingSocket routing;
  if (const int error = routing.open(); error != 0) {
    problem = failed("there is no network", error);
    return error;
  }
  const std::vector<Link> links = devices(routing);
  if (links.size() < interfaces.size()) {
    problem = format("the guest has %zu network devices, not %zu", links.size(), interfaces.size());
    return ENODEV;
  }
  for (size_t i = 0; i < interfaces.size(); ++i) {
    if (const int error = change(routing, links[i], interfaces[i], problem); error != 0) return error;
  }
  return 0;
}

}  // namespace volley
