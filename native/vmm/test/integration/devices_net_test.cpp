// The net device through a canary, on a real tap.
#include <cerrno>

#include "support/check.h"
#include "support/device_microvm.h"
#include "support/tap_network.h"

namespace volley::test {
namespace {

constexpr char kGuest[] = "10.77.0.2";

TEST(a_canary_answers_ping) {
  const std::unique_ptr<TapNetwork> network = TapNetwork::make();
  if (!network) return;
  DeviceMicrovm microvm;
  const uint32_t net = microvm.net(network->tap());
  microvm.start("net=10.77.0.2/24,10.77.0.1");
  CHECK_CONTAINS(microvm.result("net"), "ok mac=02:56:4c:00:00:01");
  // Sizes around that of the guest's receive buffers, which are merged for larger packets.
  for (const size_t bytes : {0u, 1u, 56u, 457u, 458u, 459u, 970u, 1400u, 1472u}) CHECK(TapNetwork::ping(kGuest, bytes));
  CHECK(microvm.stats(net).reads >= 9);
  CHECK(microvm.stats(net).writes >= 9);
  CHECK_EQ(microvm.stats(net).errors, 0u);
  microvm.stop();
}

TEST(a_canary_pings_its_host) {
  const std::unique_ptr<TapNetwork> network = TapNetwork::make();
  if (!network) return;
  DeviceMicrovm microvm;
  microvm.net(network->tap());
  microvm.start("net=10.77.0.2/24 ping=10.77.0.1,100");
  CHECK_CONTAINS(microvm.result("ping"), "ok count=100");
  microvm.stop();
}

TEST(without_event_indexes_and_indirect_descriptors_it_works_as_well) {
  const std::unique_ptr<TapNetwork> network = TapNetwork::make();
  if (!network) return;
  for (const std::string words : {"noevent", "noindirect", "noevent noindirect"}) {
    DeviceMicrovm microvm;
    microvm.net(network->tap());
    microvm.start(words + " net=10.77.0.2/24 ping=10.77.0.1,20");
    CHECK_CONTAINS(microvm.result("ping"), "ok count=20");
    CHECK(TapNetwork::ping(kGuest, 1400));
    microvm.stop();
  }
}

TEST(datagrams_come_back_whole_and_in_order) {
  const std::unique_ptr<TapNetwork> network = TapNetwork::make();
  if (!network) return;
  DeviceMicrovm microvm;
  microvm.net(network->tap());
  microvm.start("net=10.77.0.2/24");
  REQUIRE(microvm.result("net").find("ok") != std::string::npos);
  const UniqueFd socket = TapNetwork::udp(9000);
  for (int i = 0; i < 200; ++i) {
    const std::string data =
        std::to_string(i) + std::string(static_cast<size_t>(i * 7), static_cast<char>('a' + i % 26));
    REQUIRE(TapNetwork::send(socket.get(), kGuest, 7, data));
    CHECK_EQ(TapNetwork::receive(socket.get()), data);
  }
  microvm.stop();
}

TEST(what_the_guest_sends_arrives_with_checksums_made_by_the_device) {
  const std::unique_ptr<TapNetwork> network = TapNetwork::make();
  if (!network) return;
  const UniqueFd socket = TapNetwork::udp(9001);
  DeviceMicrovm microvm;
  const uint32_t net = microvm.net(network->tap());
  microvm.start("net=10.77.0.2/24 udp=10.77.0.1:9001,500,1000");
  for (uint32_t i = 0; i < 500; ++i) {
    const std::string data = TapNetwork::receive(socket.get());
    REQUIRE(data.size() == 1000);
    CHECK_EQ(static_cast<unsigned char>(data[7]), i & 0xff);
  }
  CHECK_CONTAINS(microvm.result("udp"), "ok count=500");
  CHECK(microvm.stats(net).writes >= 500);
  microvm.stop();
}

// A5, from the guest: a full bucket, then 100 KiB in each 100 ms. The time is the guest's, between its first datagram
// and the last one that the device has taken.
TEST(what_the_guest_sends_keeps_to_its_limit) {
  const std::unique_ptr<TapNetwork> network = TapNetwork::make();
  if (!network) return;
  const UniqueFd socket = TapNetwork::udp(9002);
  DeviceMicrovm microvm;
  const uint32_t net = microvm.net(network->tap(), {}, bytes_limit(100 * 1024, 100));
  microvm.start("net=10.77.0.2/24 udp=10.77.0.1:9002,1000,1400");
  const std::string line = microvm.result("udp", 0, 30'000);
  CHECK_CONTAINS(line, "ok count=1000");
  // 1,442 bytes a frame: 1.408 MiB, of which the bucket holds 100 KiB at the start.
  const double seconds = static_cast<double>(number_in(line, "us").value_or(0)) / 1e6;
  CHECK(seconds > 1.3 * 0.9);
  CHECK(seconds < 1.3 * 3);
  CHECK(microvm.stats(net).throttled > 0);
  microvm.stop();
}

// A5, towards the guest, changed while running: what is beyond the limit waits in the tap and is dropped there.
TEST(what_the_guest_gets_keeps_to_its_limit) {
  const std::unique_ptr<TapNetwork> network = TapNetwork::make();
  if (!network) return;
  DeviceMicrovm microvm;
  const uint32_t net = microvm.net(network->tap());
  microvm.start("net=10.77.0.2/24");
  REQUIRE(TapNetwork::ping(kGuest, 56));
  volley_message message{};
  message.type = VOLLEY_CMD_SET_LIMIT;
  message.payload.limit.device = net;
  message.payload.limit.which = 0;
  message.payload.limit.limiter = bytes_limit(64 * 1024, 100);
  REQUIRE(microvm.vmm().request(message)->status == 0);
  const UniqueFd socket = TapNetwork::udp(9003);
  const uint64_t bytes_before = microvm.stats(net).read_bytes;
  const uint64_t began = VmmProcess::now_ns();
  uint64_t sent = 0;
  const std::string data(1400, 'x');
  while (VmmProcess::now_ns() - began < 1'500'000'000) {
    // To a port where nobody is: the guest only receives.
    TapNetwork::send(socket.get(), kGuest, 12345, data);
    if (++sent % 16 == 0) usleep(1000);
  }
  const double seconds = static_cast<double>(VmmProcess::now_ns() - began) / 1e9;
  const auto bytes = static_cast<double>(microvm.stats(net).read_bytes - bytes_before);
  const double allowed = 65536 + 655360 * seconds;
  CHECK(static_cast<double>(sent) * 1400 > 2 * allowed);  // it was a flood
  CHECK(bytes < 1.1 * allowed);
  CHECK(bytes > 0.4 * allowed);
  microvm.stop();
}

TEST(two_cards_keep_their_networks_apart) {
  const std::unique_ptr<TapNetwork> first = TapNetwork::make();
  const std::unique_ptr<TapNetwork> second = TapNetwork::make();
  if (!first || !second) return;
  DeviceMicrovm microvm;
  const uint32_t one = microvm.net(first->tap());
  const uint32_t two = microvm.net(second->tap());
  microvm.start("net=10.77.0.2/24 net=10.78.0.2/24 ping=10.77.0.1,10");
  CHECK_CONTAINS(microvm.result("net", 1), "ok mac=02:56:4c:00:00:02");
  CHECK_CONTAINS(microvm.result("ping"), "ok");
  CHECK(microvm.stats(one).writes >= 10);
  CHECK_EQ(microvm.stats(two).writes, 0u);
  microvm.stop();
}

}  // namespace
}  // namespace volley::test
