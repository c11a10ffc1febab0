#include "boot/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "base/text.h"
#include "base/unique_fd.h"
#include "support/sandbox.h"
#include "vmm/test/support/check.h"

namespace volley {
namespace {

using test::Tap;

using Mac = std::array<uint8_t, 6>;

ifreq asked(const std::string& name, unsigned long question) {
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  CHECK_EQ(ioctl(socket.get(), question, &request), 0);
  return request;
}

bool is_up(const std::string& name) { return (asked(name, SIOCGIFFLAGS).ifr_flags & IFF_UP) != 0; }

int mtu_of(const std::string& name) { return asked(name, SIOCGIFMTU).ifr_mtu; }

std::string mac_of(const std::string& name) {
  const ifreq answer = asked(name, SIOCGIFHWADDR);
  std::string text;
  for (int i = 0; i < 6; ++i) text += format(":%02x", static_cast<uint8_t>(answer.ifr_hwaddr.sa_data[i]));
  return text.substr(1);
}

std::string text_of(const sockaddr* address) {
  char text[INET_ADDRSTRLEN] = "";
  inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, text, sizeof text);
  return text;
}

// "ADDRESS/MASK" of each, one space between.
std::string addresses_of(const std::string& name) {
  ifaddrs* all = nullptr;
  CHECK_EQ(getifaddrs(&all), 0);
  std::string found;
  for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET || name != one->ifa_name) continue;
    found += (found.empty() ? "" : " ") + text_of(one->ifa_addr) + "/" + text_of(one->ifa_netmask);
  }
  freeifaddrs(all);
  return found;
}

// Gateways of the default routes, as the kernel writes them: hexadecimal, in network byte order.
std::string gateways_of(const std::string& name) {
  std::ifstream table("/proc/self/net/route");
  std::string found;
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    std::string interface, destination, gateway;
    fields >> interface >> destination >> gateway;
    if (interface == name && destination == "00000000") found += (found.empty() ? "" : " ") + gateway;
  }
  return found;
}

InterfaceConfig interface(uint8_t last_of_mac, uint32_t address, uint32_t gateway, uint32_t mtu = 0) {
  return {Mac{2, 0, 0, 0, 0, last_of_mac}, address, 24, gateway, mtu};
}

TEST(an_interface_is_found_by_its_mac) {
  const Tap first("first", 1), second("second", 2);
  set_up_network({interface(2, 0x0a000105, 0x0a000101, 1400)});
  CHECK(is_up("lo"));
  CHECK(!is_up("first"));
  CHECK(is_up("second"));
  CHECK_EQ(addresses_of("second"), "10.0.1.5/255.255.255.0");
  CHECK_EQ(gateways_of("second"), "0101000A");
  CHECK_EQ(mtu_of("second"), 1400);
}

TEST(a_gateway_may_lie_outside_of_the_prefix) {
  const Tap tap("alone", 1);
  set_up_network({{Mac{2, 0, 0, 0, 0, 1}, 0x0a000105, 32, 0xa9fe0001, 0}});
  CHECK_EQ(addresses_of("alone"), "10.0.1.5/255.255.255.255");
  CHECK_EQ(gateways_of("alone"), "0100FEA9");
}

TEST(devices_take_what_is_given_in_their_order_and_nothing_of_before_stays) {
  const Tap first("first", 1), second("second", 2);
  set_up_network({interface(1, 0x0a000105, 0x0a000101), interface(2, 0x0a000205, 0)});
  std::string problem;
  CHECK_EQ(change_network({interface(0x11, 0x0a010105, 0x0a010101, 1300), interface(0x12, 0x0a010205, 0)}, problem), 0);
  CHECK_EQ(problem, "");
  CHECK_EQ(mac_of("first"), "02:00:00:00:00:11");
  CHECK_EQ(addresses_of("first"), "10.1.1.5/255.255.255.0");
  CHECK_EQ(gateways_of("first"), "0101010A");
  CHECK_EQ(mtu_of("first"), 1300);
  CHECK(is_up("first"));
  CHECK_EQ(mac_of("second"), "02:00:00:00:00:12");
  CHECK_EQ(addresses_of("second"), "10.1.2.5/255.255.255.0");
  CHECK_EQ(gateways_of("second"), "");
  CHECK(is_up("second"));
}

TEST(what_was_changed_already_is_left_alone) {
  const Tap tap("alone", 1);
  set_up_network({interface(1, 0x0a000105, 0x0a000101)});
  std::string problem;
  CHECK_EQ(change_network({interface(1, 0x0a010105, 0x0a010101)}, problem), 0);
  CHECK_EQ(addresses_of("alone"), "10.0.1.5/255.255.255.0");
  CHECK_EQ(gateways_of("alone"), "0101000A");
}

TEST(what_programs_have_made_is_theirs) {
  const Tap made("made", 1, Tap::Stands::kForNothing), device("device", 2);
  set_up_network({interface(1, 0x0a000105, 0)});
  std::string problem;
  CHECK_EQ(change_network({interface(0x12, 0x0a010105, 0)}, problem), 0);
  CHECK_EQ(mac_of("made"), "02:00:00:00:00:01");
  CHECK_EQ(addresses_of("made"), "10.0.1.5/255.255.255.0");
  CHECK_EQ(mac_of("device"), "02:00:00:00:00:12");
  CHECK_EQ(mac_of("lo"), "00:00:00:00:00:00");
}

TEST(with_fewer_devices_than_told_none_is_changed) {
  const Tap tap("alone", 1);
  set_up_network({interface(1, 0x0a000105, 0)});
  std::string problem;
  CHECK_EQ(change_network({interface(0x11, 0x0a010105, 0), interface(0x12, 0x0a010205, 0)}, problem), ENODEV);
  CHECK_EQ(problem, "the guest has 1 network devices, not 2");
  CHECK_EQ(mac_of("alone"), "02:00:00:00:00:01");
  CHECK_EQ(addresses_of("alone"), "10.0.1.5/255.255.255.0");
}

TEST(what_the_kernel_refuses_is_told_with_the_interface) {
  const Tap tap("alone", 1);
  InterfaceConfig one = interface(1, 0x0a010105, 0);
  one.mac[0] = 1;  // a group's
  std::string problem;
  CHECK_EQ(change_network({one}, problem), EADDRNOTAVAIL);
  CHECK_CONTAINS(problem, "the network interface 01:00:00:00:00:01 cannot take the place of the one before");
  one = interface(0x11, 0x0a010105, 0x7f000001);
  CHECK_EQ(change_network({one}, problem), EINVAL);
  CHECK_CONTAINS(problem, "the network interface 02:00:00:00:00:11 takes no gateway");
}

TEST(nothing_told_is_nothing_done) {
  std::string problem;
  CHECK_EQ(change_network({}, problem), 0);
  CHECK_EQ(problem, "");
}

}  // namespace
}  // namespace volley
