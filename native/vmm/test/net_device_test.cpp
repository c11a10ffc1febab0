#include "net/net_device.h"

#include <netinet/in.h>
#include <sys/resource.h>

#include <array>
#include <map>
#include <memory>
#include <thread>

#include "net/net_features.h"
#include "support/device_bench.h"
#include "support/raw_tap.h"

namespace volley {
namespace {

using Bench = test::DeviceBench<NetDevice>;
using test::RawTap;

constexpr uint32_t kRx = 0;
constexpr uint32_t kTx = 1;
constexpr uint8_t kGuestMac[] = {0x06, 0x00, 0xac, 0x10, 0x00, 0x02};
constexpr uint8_t kHostMac[] = {0x02, 0, 0, 0, 0, 1};
constexpr uint64_t kVersion1 = 1ull << 32;
constexpr uint64_t kMergeable = kVersion1 | kNetMergeableBuffers;
constexpr uint64_t kOffloads = kNetChecksum | kNetGuestChecksum | kNetGuestTso4 | kNetHostTso4;

std::string name_of_next_tap() {
  static int number = 0;
  return "vt" + std::to_string(number++);
}

std::string frame(const uint8_t* to, const uint8_t* from, size_t payload, char fill = 'x') {
  std::string bytes(reinterpret_cast<const char*>(to), 6);
  bytes.append(reinterpret_cast<const char*>(from), 6);
  bytes += "\x88\xb5";  // local experimental
  bytes.append(payload, fill);
  return bytes;
}
std::string to_guest(size_t payload, char fill = 'x') { return frame(kGuestMac, kHostMac, payload, fill); }
std::string from_guest(size_t payload, char fill = 'x') { return frame(kHostMac, kGuestMac, payload, fill); }

// An Ethernet frame of TCP over IPv4 whose checksum is left to whoever sends it on.
std::string tcp_frame(const uint8_t* to, const uint8_t* from, size_t payload) {
  std::string bytes(reinterpret_cast<const char*>(to), 6);
  bytes.append(reinterpret_cast<const char*>(from), 6);
  bytes += std::string("\x08\x00", 2);
  std::array<uint8_t, 40> headers{0x45, 0, 0,    0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10,   0,    0,    1,    10, 0, 0, 2,
                                  0x10, 0, 0x20, 0, 0, 0, 0,    1, 0,  0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0,  0, 0, 0};
  const size_t total = headers.size() + payload;
  headers[2] = static_cast<uint8_t>(total >> 8);
  headers[3] = static_cast<uint8_t>(total);
  uint32_t sum = 0;
  for (size_t i = 0; i < 20; i += 2) sum += static_cast<uint32_t>(headers[i] << 8 | headers[i + 1]);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  headers[10] = static_cast<uint8_t>(~sum >> 8);
  headers[11] = static_cast<uint8_t>(~sum);
  bytes.append(reinterpret_cast<const char*>(headers.data()), headers.size());
  for (size_t i = 0; i < payload; ++i) bytes += static_cast<char>('a' + i / 1000 % 26);
  return bytes;
}

VnetHeader segments_of(uint16_t size) {
  return {.flags = kVnetNeedsChecksum,
          .gso_type = kVnetTcp4,
          .header_length = 54,
          .gso_size = size,
          .checksum_start = 34,
          .checksum_offset = 16,
          .buffers = 0};
}

volley_device net(uint16_t mtu = 0) {
  volley_device config{};
  config.type = VOLLEY_DEVICE_NET;
  memcpy(config.mac, kGuestMac, sizeof(kGuestMac));
  config.mtu = mtu;
  return config;
}

// A device on a tap of its own, with a driver that follows the rules.
struct Network {
  explicit Network(volley_device config = net(), int mtu = 1500)
      : tap(name_of_next_tap().c_str(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, mtu), bench(Bench::make()) {
    if (!bench.fds.add(static_cast<uint16_t>(device_role(0)), tap.tap.get())) abort();
    const Status status = bench.open(config);
    if (!status.is_ok()) {
      fprintf(stderr, "%s\n", status.message());
      abort();
    }
  }
  ~Network() { bench.reset(); }  // lets go of the tap
  void activate(uint64_t features) {
    bench.free_all();
    buffers.clear();
    taken.clear();
    bench.activate(features, 2);
  }
  // Gives the device `count` receive buffers in pieces of `piece` bytes.
  void give(size_t count, uint32_t bytes, uint32_t piece = ~0u) {
    for (size_t i = 0; i < count; ++i) {
      const uint64_t at = bench.allocate(bytes);
      std::vector<GuestDriver::Piece> pieces;
      for (uint32_t done = 0; done < bytes; done += std::min(piece, bytes - done)) {
        pieces.push_back({at + done, std::min(piece, bytes - done), true});
      }
      buffers[bench.queues[kRx]->add(pieces)] = at;
    }
    bench.kick(kRx);
  }
  // The next frame that the guest received, with its header; empty if none comes.
  std::string take(VnetHeader* header = nullptr) {
    test::DriverQueue& queue = *bench.queues[kRx];
    std::string bytes;
    VnetHeader first{};
    for (unsigned left = 1; left > 0; --left) {
      if (!bench.await([&] { return queue.has_used(); })) return {};
      const test::DriverQueue::Used used = *queue.reap();
      const uint64_t at = buffers[static_cast<uint16_t>(used.head)];
      taken.push_back(at);
      const std::string part = bench.read(at, used.length);
      if (bytes.empty()) {
        memcpy(&first, part.data(), sizeof(first));
        left = first.buffers;
        used_buffers = first.buffers;
      }
      bytes += part;
    }
    if (header != nullptr) *header = first;
    return bytes.substr(sizeof(first));
  }
  // Offers what was taken once more, in pieces of 512 bytes.
  void give_again() {
    for (const uint64_t at : taken) buffers[bench.queues[kRx]->add({{at, 512, true}})] = at;
    taken.clear();
    bench.kick(kRx);
  }
  // Has the guest send a frame in one piece, or in pieces of `piece` bytes; waits until the device gave it back.
  void send(const std::string& bytes, VnetHeader header = {}, uint32_t piece = ~0u) {
    offer(bytes, header, piece);
    bench.kick(kTx);
    CHECK(bench.await([&] { return bench.queues[kTx]->free_descriptors() + reaped() == 256; }));
  }
  void offer(const std::string& bytes, VnetHeader header = {}, uint32_t piece = ~0u) {
    std::string all(reinterpret_cast<const char*>(&header), sizeof(header));
    all += bytes;
    const uint64_t at = bench.allocate(all.size());
    bench.write(at, all.data(), all.size());
    std::vector<GuestDriver::Piece> pieces;
    const auto length = static_cast<uint32_t>(all.size());
    for (uint32_t done = 0; done < length; done += std::min(piece, length - done)) {
      pieces.push_back({at + done, std::min(piece, length - done), false});
    }
    bench.queues[kTx]->add(pieces);
  }
  size_t reaped() {
    while (bench.queues[kTx]->reap()) {
    }
    return 0;
  }
  const volley_device_stats& counters() const { return bench.counters(); }

  RawTap tap;
  Bench& bench;
  std::map<uint16_t, uint64_t> buffers;
  std::vector<uint64_t> taken;
  unsigned used_buffers = 0;
};

// CPU time, not the clock's: a loop that spins uses all it can get, one that does not next to none.
bool does_not_spin(Bench& bench) {
  const uint64_t before = bench.cpu_ns();
  usleep(100'000);
  return bench.cpu_ns() - before < 5'000'000;
}

// ---- The parts.

TEST(headers_of_outgoing_frames_are_checked) {
  const uint64_t all = kNetChecksum | kNetHostTso4;
  struct Case {
    VnetHeader header;
    uint64_t bytes;
    uint64_t features;
    bool good;
  } const cases[] = {
      {{}, 14, 0, true},
      {{}, 13, 0, false},
      {{}, kMaxOffloadFrame - kVnetHeaderBytes, 0, true},
      {{}, kMaxOffloadFrame - kVnetHeaderBytes + 1, 0, false},
      {{.flags = 0xfe,
        .gso_type = 0,
        .header_length = 9,
        .gso_size = 9,
        .checksum_start = 9,
        .checksum_offset = 9,
        .buffers = 9},
       60,
       0,
       true},
      {{.flags = 1,
        .gso_type = 0,
        .header_length = 0,
        .gso_size = 0,
        .checksum_start = 34,
        .checksum_offset = 16,
        .buffers = 0},
       60,
       0,
       false},
      {{.flags = 1,
        .gso_type = 0,
        .header_length = 0,
        .gso_size = 0,
        .checksum_start = 34,
        .checksum_offset = 16,
        .buffers = 0},
       60,
       all,
       true},
      {{.flags = 1,
        .gso_type = 0,
        .header_length = 0,
        .gso_size = 0,
        .checksum_start = 34,
        .checksum_offset = 25,
        .buffers = 0},
       60,
       all,
       false},
      {{.flags = 1,
        .gso_type = 0,
        .header_length = 0,
        .gso_size = 0,
        .checksum_start = 0xffff,
        .checksum_offset = 0xffff,
        .buffers = 0},
       60,
       all,
       false},
      {{.flags = 1,
        .gso_type = 0,
        .header_length = 0,
        .gso_size = 0,
        .checksum_start = 2,
        .checksum_offset = 2,
        .buffers = 0},
       60,
       all,
       false},
      {segments_of(1000), 3000, all, true},
      {segments_of(1000), 3000, kNetChecksum, false},
      {segments_of(0), 3000, all, false},
      {segments_of(1000), 53, all, false},
      {{.flags = 0,
        .gso_type = kVnetTcp4,
        .header_length = 54,
        .gso_size = 9,
        .checksum_start = 0,
        .checksum_offset = 0,
        .buffers = 0},
       3000,
       all,
       false},
      {{.flags = 1,
        .gso_type = 3,
        .header_length = 54,
        .gso_size = 9,
        .checksum_start = 34,
        .checksum_offset = 16,
        .buffers = 0},
       3000,
       ~0ull,
       false},
      {{.flags = 1,
        .gso_type = 0x81,
        .header_length = 54,
        .gso_size = 9,
        .checksum_start = 34,
        .checksum_offset = 16,
        .buffers = 0},
       3000,
       ~0ull,
       false},
  };
  int number = 0;
  for (const Case& each : cases) {
    VnetHeader header = each.header;
    if (prepare_outgoing(header, each.bytes, each.features) != each.good) {
      check::report(__FILE__, __LINE__, "case " + std::to_string(number));
    }
    if (each.good) CHECK((header.flags & ~1) == 0 && header.buffers == 0);
    ++number;
  }
}

TEST(offloads_towards_the_guest_depend_on_its_checksum_feature) {
  CHECK_EQ(tap_offloads(kNetGuestTso4 | kNetGuestTso6), 0u);
  CHECK_EQ(tap_offloads(kNetGuestChecksum), unsigned{TUN_F_CSUM});
  CHECK_EQ(tap_offloads(~0ull), unsigned{TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6});
}

TEST(the_pool_keeps_its_parts_in_a_row_and_inside) {
  GuestMemory memory;
  REQUIRE(memory.map(4 << 20, true).is_ok());
  test::DriverQueue driver(memory, 4096, 256);
  Virtqueue queue;
  REQUIRE(queue.set_up(memory, driver.ring.layout(), 256, false, true));
  const auto pool = std::make_unique<ReceivePool>();
  const auto chain = std::make_unique<Chain>();
  uint8_t spill[4];
  uint64_t refused = 0;
  size_t used = 0;
  for (uint32_t i = 0; i < 5000; ++i) {
    while (driver.free_descriptors() > 8) {
      driver.add({{1 << 20, 100 + i % 50, true}, {2 << 20, 60, true}, {3 << 20, 1, true}});
    }
    CHECK(pool->fill(queue, chain.get(), 9000, false, &refused) == ReceivePool::Fill::kEnough);
    const std::span<const iovec> parts = pool->front_and(pool->room(), spill);
    CHECK(reinterpret_cast<const uint8_t*>(parts.data()) >= reinterpret_cast<const uint8_t*>(pool.get()));
    CHECK(reinterpret_cast<const uint8_t*>(parts.data() + parts.size()) <=
          reinterpret_cast<const uint8_t*>(pool.get() + 1));
    size_t room = 0;
    for (const iovec& part : parts.first(parts.size() - 1)) room += part.iov_len;
    CHECK_EQ(room, pool->room());
    CHECK(parts.back().iov_base == spill);
    pool->give_back(queue, 300);
    (void)queue.publish();
    while (driver.reap()) ++used;
  }
  CHECK(used >= 10'000);
}

TEST(the_pool_reads_into_no_more_than_is_expected_and_loses_nothing_of_what_is_larger) {
  GuestMemory memory;
  REQUIRE(memory.map(4 << 20, true).is_ok());
  test::DriverQueue driver(memory, 4096, 256);
  Virtqueue queue;
  REQUIRE(queue.set_up(memory, driver.ring.layout(), 256, false, true));
  const auto pool = std::make_unique<ReceivePool>();
  const auto chain = std::make_unique<Chain>();
  uint64_t refused = 0;
  for (uint64_t i = 0; i < 10; ++i) driver.add({{(1 << 20) + i * 100, 100, true}});
  REQUIRE(pool->fill(queue, chain.get(), 1000, false, &refused) == ReceivePool::Fill::kEnough);
  std::array<uint8_t, 1000> spill{};
  CHECK_EQ(pool->front_and(1, spill).size(), 2u);
  CHECK_EQ(pool->front_and(100, spill).size(), 2u);
  CHECK_EQ(pool->front_and(1000, spill).size(), 11u);
  CHECK_EQ(pool->front_and(5000, spill).size(), 11u);
  CHECK_EQ(pool->front_and(101, spill).size(), 3u);

  // A frame of 650 bytes, of which the room of two buffers was expected.
  const std::span<uint8_t> room = memory.range(1 << 20, 1000);
  for (size_t i = 0; i < 650; ++i) (i < 200 ? room[i] : spill[i - 200]) = static_cast<uint8_t>(i % 251);
  pool->unspill(spill, 650);
  pool->give_back(queue, 650);
  (void)queue.publish();
  for (size_t i = sizeof(VnetHeader); i < 650; ++i) REQUIRE(room[i] == static_cast<uint8_t>(i % 251));
  CHECK_EQ(room[650], 0);
  for (uint32_t buffer = 0; buffer < 7; ++buffer) CHECK_EQ(driver.reap()->length, buffer < 6 ? 100u : 50u);
  CHECK_EQ(pool->room(), 300u);
}

TEST(only_a_tap_with_headers_and_a_sane_address_will_do) {
  const auto refusal = [](int fd, volley_device config) {
    Bench& bench = Bench::make();
    if (fd >= 0 && !bench.fds.add(static_cast<uint16_t>(device_role(0)), fd)) abort();
    return std::string(bench.open(config).message());
  };
  CHECK_CONTAINS(refusal(-1, net()), "no tap was passed");
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  CHECK_CONTAINS(refusal(null.get(), net()), "is no tap");
  RawTap tun("tun9", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR);
  CHECK_CONTAINS(refusal(tun.tap.get(), net()), "IFF_TAP");
  volley_device config = net();
  config.mac[0] = 1;
  CHECK_CONTAINS(refusal(null.get(), config), "MAC address");
  memset(config.mac, 0, sizeof(config.mac));
  CHECK_CONTAINS(refusal(null.get(), config), "MAC address");
}

TEST(configuration_shows_address_link_and_mtu) {
  Network with(net(9000));
  NetConfig config{};
  with.bench.device->read_config(0, {reinterpret_cast<uint8_t*>(&config), sizeof(config)});
  CHECK_EQ(memcmp(config.mac, kGuestMac, 6), 0);
  CHECK_EQ(config.status, kNetLinkUp);
  CHECK_EQ(config.mtu, 9000);
  CHECK((with.bench.device->features() & kNetMtu) != 0);
  Network without;
  CHECK((without.bench.device->features() & kNetMtu) == 0);
}

// ---- Towards the guest.

TEST(frames_reach_the_guest) {
  for (const uint64_t features : {kVersion1, kMergeable, kMergeable | kOffloads}) {
    Network network;
    network.activate(features);
    network.give(32, 2048);
    for (size_t size : {46u, 100u, 1500u}) {
      CHECK(network.tap.send(to_guest(size)));
      VnetHeader header{};
      CHECK(network.take(&header) == to_guest(size));
      CHECK_EQ(header.buffers, 1);
      CHECK_EQ(header.gso_type, kVnetNoOffload);
    }
    CHECK_EQ(network.counters().reads, 3u);
    CHECK_EQ(network.counters().read_bytes, 46u + 100 + 1500 + 3 * 14);
    CHECK_EQ(network.counters().errors, 0u);
  }
}

TEST(buffers_may_be_in_any_number_of_pieces) {
  for (const uint64_t features : {kVersion1, kMergeable}) {
    Network network;
    network.activate(features);
    network.give(1, 1600, 7);
    CHECK(network.tap.send(to_guest(1400, 'q')));
    CHECK(network.take() == to_guest(1400, 'q'));
  }
}

TEST(a_large_frame_is_spread_over_mergeable_buffers) {
  Network network;
  network.activate(kMergeable | kOffloads);
  network.give(200, 512);
  const std::string large = tcp_frame(kGuestMac, kHostMac, 40'000);
  CHECK(network.tap.send(large, segments_of(1448)));
  VnetHeader header{};
  CHECK(network.take(&header) == large);
  CHECK_EQ(header.gso_type, kVnetTcp4);
  CHECK_EQ(header.gso_size, 1448);
  CHECK_EQ(network.used_buffers, (large.size() + 12 + 511) / 512);
  CHECK_EQ(network.counters().reads, 1u);
}

TEST(frames_of_all_sizes_follow_each_other) {
  Network network;
  network.activate(kMergeable | kOffloads);
  network.give(200, 512);
  for (const size_t size : {40'000u, 64u, 40'000u, 3'000u, 20'000u, 600u, 500u}) {
    const std::string sent = size > 1500 ? tcp_frame(kGuestMac, kHostMac, size) : to_guest(size);
    CHECK(network.tap.send(sent, size > 1500 ? segments_of(1448) : VnetHeader{}));
    CHECK(network.take() == sent);
    CHECK_EQ(network.used_buffers, (sent.size() + 12 + 511) / 512);
    network.give_again();
  }
  CHECK_EQ(network.counters().errors, 0u);
}

TEST(a_large_frame_waits_for_room_and_is_not_cut) {
  Network network;
  network.activate(kMergeable | kOffloads);
  const std::string large = tcp_frame(kGuestMac, kHostMac, 40'000);
  network.give(20, 512);
  CHECK(network.tap.send(large, segments_of(1448)));
  CHECK(network.tap.send(to_guest(64)));
  network.bench.settle();
  CHECK(!network.bench.queues[kRx]->has_used());
  network.give(30, 512);
  network.give(100, 512);
  CHECK(network.take() == large);
  CHECK(network.take() == to_guest(64));
  CHECK_EQ(network.counters().errors, 0u);
}

TEST(without_offloads_the_host_cuts_frames_to_size) {
  Network network;
  network.activate(kMergeable);
  network.give(64, 2048);
  CHECK(network.tap.send(tcp_frame(kGuestMac, kHostMac, 4344), segments_of(1448)));
  for (int i = 0; i < 3; ++i) {
    VnetHeader header{};
    CHECK_EQ(network.take(&header).size(), 54u + 1448);
    CHECK_EQ(header.flags, 0);
    CHECK_EQ(header.gso_type, kVnetNoOffload);
  }
}

TEST(a_frame_too_large_for_a_single_buffer_is_dropped_and_counted) {
  Network network;
  network.activate(kVersion1);
  network.give(4, 256);
  CHECK(network.tap.send(to_guest(1000)));
  CHECK(network.tap.send(to_guest(100)));
  CHECK(network.take() == to_guest(100));
  CHECK_EQ(network.counters().errors, 1u);
}

TEST(a_frame_larger_than_announced_does_not_hurt) {
  Network network(net(), 9000);  // a tap larger than the device's idea of it
  network.activate(kVersion1);
  network.give(4, 1526);
  CHECK(network.tap.send(to_guest(8000)));
  CHECK(network.tap.send(to_guest(1500, 'y')));
  CHECK(network.take() == to_guest(1500, 'y'));
  CHECK_EQ(network.counters().errors, 1u);
}

TEST(no_frame_is_lost_while_the_guest_has_no_buffers) {
  Network network;
  network.activate(kMergeable);
  constexpr int kFrames = 200;
  for (int i = 0; i < kFrames; ++i) CHECK(network.tap.send(to_guest(60, static_cast<char>(i))));
  network.bench.settle();
  CHECK(network.bench.queues[kRx]->kicks_wanted());
  CHECK(does_not_spin(network.bench));
  int seen = 0;
  while (seen < kFrames) {
    network.give(7, 300);
    while (seen < kFrames && network.bench.await([&] {
      return network.bench.queues[kRx]->has_used() || network.bench.queues[kRx]->free_descriptors() == 256;
    }) && network.bench.queues[kRx]->has_used()) {
      if (network.take() != to_guest(60, static_cast<char>(seen))) {
        check::report(__FILE__, __LINE__, "frame " + std::to_string(seen));
        return;
      }
      ++seen;
    }
  }
  CHECK_EQ(network.counters().reads, uint64_t{kFrames});
  CHECK_EQ(network.counters().errors, 0u);
}

TEST(buffers_are_used_again_and_again) {
  Network network;
  network.activate(kMergeable | kOffloads);  // holds many buffers at a time
  network.give(200, 512);
  for (uint32_t i = 0; i < 3000; ++i) {
    const std::string sent = to_guest(46 + i % 700, static_cast<char>(i));
    CHECK(network.tap.send(sent));
    if (network.take() != sent) {
      check::report(__FILE__, __LINE__, "frame " + std::to_string(i));
      return;
    }
    network.give_again();
  }
  CHECK_EQ(network.counters().errors, 0u);
}

TEST(receive_buffers_that_cannot_be_written_are_given_back_unused) {
  Network network;
  network.activate(kMergeable);
  const uint64_t at = network.bench.allocate(64);
  for (int i = 0; i < 10; ++i) network.bench.queues[kRx]->add({{at, 64, false}});
  network.give(4, 2048);
  CHECK(network.tap.send(to_guest(200)));
  CHECK(network.bench.await([&] { return network.bench.queues[kRx]->waiting() == 11; }));
  CHECK_EQ(network.counters().errors, 10u);
}

// ---- From the guest.

TEST(frames_leave_the_guest) {
  Network network;
  network.activate(kVersion1);
  for (uint32_t piece : {~0u, 1500u, 700u, 40u, 13u}) {
    network.send(from_guest(1500, 'm'), {}, piece);
    CHECK(network.tap.receive() == from_guest(1500, 'm'));
  }
  CHECK_EQ(network.counters().writes, 5u);
  CHECK_EQ(network.counters().write_bytes, 5u * 1514);
  CHECK_EQ(network.counters().errors, 0u);
}

TEST(a_frame_of_256_pieces_leaves_the_guest) {
  Network network;
  network.activate(kVersion1);
  network.send(from_guest(256 * 5 - 12 - 14, 'z'), {}, 5);
  CHECK(network.tap.receive() == from_guest(256 * 5 - 12 - 14, 'z'));
}

TEST(segments_and_checksums_are_left_to_the_host) {
  Network network;
  network.activate(kMergeable | kOffloads);
  const std::string large = tcp_frame(kHostMac, kGuestMac, 30'000);
  network.send(large, segments_of(1448), 4096);
  VnetHeader header{};
  CHECK(network.tap.receive(10'000, &header) == large);
  CHECK_EQ(header.gso_type, kVnetTcp4);
  CHECK_EQ(header.gso_size, 1448);
}

TEST(other_source_addresses_and_broken_headers_stay_inside) {
  Network network;
  network.activate(kVersion1);  // without offloads
  uint8_t other[6];
  memcpy(other, kGuestMac, 6);
  other[5] ^= 1;
  network.send(frame(kHostMac, other, 100));
  network.send(frame(kHostMac, kHostMac, 100));
  network.send(tcp_frame(kHostMac, kGuestMac, 3000), segments_of(1000));
  network.send("too short");
  network.send(from_guest(70'000));
  network.send(from_guest(100), {.flags = 1,
                                 .gso_type = 0,
                                 .header_length = 0,
                                 .gso_size = 0,
                                 .checksum_start = 34,
                                 .checksum_offset = 16,
                                 .buffers = 0});
  const uint64_t at = network.bench.allocate(64);
  network.bench.queues[kTx]->add({{at, 5, false}});
  network.bench.queues[kTx]->add({{at, 64, true}});
  network.bench.kick(kTx);
  CHECK_EQ(network.counters().errors, 8u);
  network.send(from_guest(333));
  CHECK(network.tap.receive() == from_guest(333));  // the first to arrive
  CHECK_EQ(network.counters().writes, 1u);
}

TEST(frames_for_an_interface_that_is_down_are_dropped) {
  Network network;
  network.activate(kVersion1);
  network.tap.set_up(false);
  network.send(from_guest(100));
  CHECK_EQ(network.counters().errors, 1u);
  network.tap.set_up(true);
  network.send(from_guest(101));
  CHECK_EQ(network.counters().writes, 1u);
}

// The tap's interface passes its frames on to a slow link, which gives their memory back only when they have left.
TEST(a_tap_that_is_full_makes_the_guest_wait) {
  Network network;
  const std::string link = network.tap.name();
  const std::string commands =
      "ip link add slow type bridge && ip link add slow0 type veth peer name slow1 && ip link set " + link +
      " master slow && ip link set slow0 master slow && ip link set slow up && "
      "ip link set slow1 up && ip link set slow0 up && "
      "tc qdisc add dev slow0 root tbf rate 8mbit burst 3000 limit 10mb";
  if (system(commands.c_str()) != 0) {
    fprintf(stderr, "SKIPPED a_tap_that_is_full_makes_the_guest_wait: needs bridge, veth and tbf\n");
    return;
  }
  const int room = 20'000;
  CHECK_EQ(ioctl(network.tap.tap.get(), TUNSETSNDBUF, &room), 0);
  network.activate(kVersion1);
  for (int i = 0; i < 128; ++i) network.offer(from_guest(1400));
  network.bench.kick(kTx);
  CHECK(network.counters().writes < 128);
  CHECK(network.bench.await([&] { return network.counters().writes == 128; }));
  CHECK_EQ(network.counters().errors, 0u);
  CHECK(network.bench.await([&] { return network.bench.queues[kTx]->waiting() == 128; }));
}

TEST(a_flood_is_sent_in_turns) {
  Network network;
  network.activate(kVersion1);
  for (int i = 0; i < 256; ++i) network.offer(from_guest(50));
  network.bench.run([&] {
    network.bench.device->kicked(kTx);
    CHECK(network.bench.queues[kTx]->waiting() < 256);
  });
  CHECK(network.bench.await([&] { return network.bench.queues[kTx]->waiting() == 256; }));
  CHECK_EQ(network.counters().writes, 256u);
}

// ---- Limits.

volley_device limited(size_t which, uint64_t operations, uint64_t bytes, uint64_t refill_ms) {
  volley_device config = net();
  if (operations != 0) config.limits[which].operations = {.size = operations, .burst = 0, .refill_ms = refill_ms};
  if (bytes != 0) config.limits[which].bytes = {.size = bytes, .burst = 0, .refill_ms = refill_ms};
  return config;
}

TEST(a_limit_towards_the_guest_holds_and_can_be_lifted) {
  Network network(limited(0, 10, 0, 3'600'000));
  network.activate(kMergeable);
  network.give(128, 512);
  for (int i = 0; i < 50; ++i) CHECK(network.tap.send(to_guest(100)));
  CHECK(network.bench.await([&] { return network.counters().throttled == 1; }));
  CHECK_EQ(network.counters().reads, 10u);
  network.bench.run([&] { CHECK(network.bench.device->set_limit(0, {})); });
  CHECK(network.bench.await([&] { return network.counters().reads == 50; }));
  network.bench.run([&] { CHECK(!network.bench.device->set_limit(2, {})); });
}

TEST(a_limit_from_the_guest_holds_and_can_be_lifted) {
  Network network(limited(1, 0, 1000, 3'600'000));
  network.activate(kMergeable);
  for (int i = 0; i < 50; ++i) network.offer(from_guest(86));
  network.bench.kick(kTx);
  CHECK(network.bench.await([&] { return network.counters().throttled == 1; }));
  CHECK_EQ(network.counters().writes, 10u);
  for (int i = 0; i < 5; ++i) network.bench.kick(kTx);
  CHECK_EQ(network.counters().writes, 10u);
  network.bench.run([&] { network.bench.device->set_limit(1, {}); });
  CHECK(network.bench.await([&] { return network.counters().writes == 50; }));
  CHECK(network.bench.await([&] { return network.bench.queues[kTx]->waiting() == 50; }));
}

TEST(broken_frames_are_paid_for_as_well) {
  Network network(limited(1, 10, 0, 3'600'000));
  network.activate(kMergeable);
  for (int i = 0; i < 50; ++i) network.offer(frame(kHostMac, kHostMac, 50));
  network.bench.kick(kTx);
  CHECK(network.bench.await([&] { return network.counters().throttled == 1; }));
  CHECK_EQ(network.counters().errors, 10u);
}

// 10 frames in 100 ms of the limiter's time: 30 in the first 200 ms, of which ten are there at once.
TEST(a_limited_direction_goes_on_by_itself) {
  for (size_t which : {0u, 1u}) {
    Network network(limited(which, 10, 0, 100));
    network.activate(kMergeable);
    network.give(128, 512);
    const uint64_t begun = monotonic_ns();
    for (int i = 0; i < 30; ++i) {
      if (which == 0) CHECK(network.tap.send(to_guest(100)));
      if (which == 1) network.offer(from_guest(100));
    }
    network.bench.kick(kTx);
    CHECK(network.bench.await([&] { return network.counters().reads + network.counters().writes == 30; }));
    const uint64_t took_ms = (monotonic_ns() - begun) / 1'000'000;
    CHECK(took_ms >= 190);
    CHECK(network.counters().throttled > 1);
  }
}

// 1 MiB in 100 ms, all the time with something to send: no more than the bucket and what was earned, and close to it.
TEST(a_limit_is_accurate) {
  Network network(limited(1, 0, 1 << 20, 100));
  network.activate(kMergeable);
  const std::string bytes = from_guest(1486);
  const uint64_t begun = monotonic_ns();
  constexpr uint64_t kFrames = 4000;  // 6 MB: ten buckets and the first for nothing
  for (uint64_t i = 0; i < kFrames; ++i) {
    if (i % 128 == 0) network.bench.free_all(1 << 20);
    CHECK(network.bench.await([&] { return network.bench.queues[kTx]->free_descriptors() + network.reaped() > 0; }));
    network.offer(bytes);
    if (i % 16 == 0) network.bench.kick(kTx);
  }
  network.bench.kick(kTx);
  CHECK(network.bench.await([&] { return network.counters().writes == kFrames; }));
  const double earned_ns = (kFrames * 1500.0 - (1 << 20)) * 100'000'000.0 / (1 << 20);
  const auto took_ns = static_cast<double>(monotonic_ns() - begun);
  printf("     took %.3f of the time that the limit asks for\n", took_ns / earned_ns);
  CHECK(took_ns >= 0.99 * earned_ns);
}

TEST(a_flood_against_a_limit_costs_little) {
  // 64 KiB in a second, and the host sends as fast as it can for half a second.
  Network network(limited(0, 0, 65536, 1000));
  network.activate(kMergeable);
  network.give(256, 2048);
  const uint64_t cpu_before = network.bench.cpu_ns();
  const uint64_t begun = monotonic_ns();
  uint64_t frames = 0;
  while (monotonic_ns() - begun < 500'000'000) frames += network.tap.send(to_guest(1400)) ? 1 : 0;
  const uint64_t elapsed = monotonic_ns() - begun;
  const uint64_t cpu = network.bench.cpu_ns() - cpu_before;
  printf("     %llu frames sent, %llu passed, %.2f %% of a CPU\n", static_cast<unsigned long long>(frames),
         static_cast<unsigned long long>(network.counters().reads),
         100.0 * static_cast<double>(cpu) / static_cast<double>(elapsed));
  CHECK(cpu * 5 < elapsed);
  const uint64_t passed = network.counters().read_bytes;
  CHECK(passed <= 65536 * (monotonic_ns() - begun + 1'000'000'000) / 1'000'000'000 + 1414);
}

// ---- Ends.

TEST(a_tap_that_goes_away_takes_only_the_link_down) {
  Network network;
  network.activate(kMergeable | kNetStatus);
  network.give(16, 2048);
  network.tap.remove();
  CHECK(network.bench.await([&] { return network.bench.host.config_changes == 1; }));
  NetConfig config{};
  network.bench.device->read_config(0, {reinterpret_cast<uint8_t*>(&config), sizeof(config)});
  CHECK_EQ(config.status, 0);
  network.send(from_guest(100));
  network.send(from_guest(100));
  CHECK_EQ(network.counters().writes, 0u);
  CHECK(network.counters().errors >= 3u);
  CHECK(does_not_spin(network.bench));
  network.bench.reset();
  network.activate(kMergeable);
  network.send(from_guest(100));
  CHECK(!network.bench.host.broken);
}

TEST(a_reset_forgets_what_is_under_way) {
  Network network(limited(1, 5, 0, 3'600'000));
  for (int round = 0; round < 3; ++round) {
    network.activate(kMergeable | kOffloads);
    network.give(20, 512);
    CHECK(network.tap.send(tcp_frame(kGuestMac, kHostMac, 40'000), segments_of(1448)));
    for (int i = 0; i < 20; ++i) network.offer(from_guest(60));
    network.bench.kick(kTx);
    network.bench.settle();
    network.bench.reset();
    CHECK(network.tap.send(to_guest(60, 'w')));
    const uint32_t interrupts = network.bench.host.interrupts;
    network.bench.settle();
    CHECK_EQ(network.bench.host.interrupts.load(), interrupts);
    // The tap, not the device, keeps what came meanwhile.
    network.activate(kMergeable);
    network.give(64, 512);
    std::string got;
    do got = network.take();
    while (!got.empty() && got != to_guest(60, 'w'));
    CHECK(!got.empty());
    network.bench.reset();
  }
}

TEST(nothing_moves_while_paused) {
  Network network(limited(1, 1, 0, 1));
  network.activate(kMergeable);
  network.give(64, 512);
  CHECK(network.tap.send(to_guest(60)));
  network.take();
  REQUIRE(network.bench.loop.pause(monotonic_ns() + 10'000'000'000));
  const volley_device_stats before = network.counters();
  for (int i = 0; i < 10; ++i) CHECK(network.tap.send(to_guest(60, 'p')));
  network.bench.run([&] { network.bench.device->set_limit(0, {}); });
  usleep(20'000);
  network.bench.settle();
  CHECK_EQ(memcmp(&before, &network.counters(), sizeof(before)), 0);
  network.bench.loop.resume();
  for (int i = 0; i < 10; ++i) CHECK(network.take() == to_guest(60, 'p'));
}

TEST(a_broken_ring_asks_for_a_reset_and_a_reset_mends_it) {
  Network network;
  for (uint32_t queue : {kRx, kTx}) {
    network.activate(kMergeable);
    network.bench.queues[queue]->ring.put_descriptor(0, 4096, 100, GuestDriver::kNext, 0);  // a loop
    network.bench.queues[queue]->ring.offer(0);
    network.bench.kick(queue);
    CHECK(network.bench.await([&] { return network.bench.host.broken.load(); }));
    CHECK(network.tap.send(to_guest(60)));
    network.bench.settle();
    network.bench.reset();
  }
  network.activate(kMergeable);
  network.send(from_guest(99));
  CHECK(network.tap.receive() == from_guest(99));
}

}  // namespace
}  // namespace volley

int main(int argc, char** argv) {
  if (!volley::test::enter_network_namespace()) return check::kSkip;
  return check::run(argc, argv);
}
