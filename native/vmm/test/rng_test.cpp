#include <algorithm>

#include "rng/rng_device.h"
#include "support/check.h"
#include "support/device_bench.h"

namespace volley {
namespace {

using Bench = test::DeviceBench<RngDevice>;

Bench& make_bench(const volley_device& config = {}) {
  Bench& bench = Bench::make();
  if (!bench.open(config).is_ok()) abort();
  bench.activate(0, 1, 64);
  return bench;
}

TEST(offered_buffers_are_filled) {
  Bench& bench = make_bench();
  const uint64_t first = bench.allocate(0x1000);
  const uint64_t second = bench.allocate(0x2000);
  bench.queues[0]->add({{first, 100, true}, {second, 5000, true}});
  bench.kick(0);
  REQUIRE(bench.await([&] { return bench.queues[0]->has_used(); }));
  CHECK_EQ(bench.queues[0]->reap()->length, 5100u);
  const std::string bytes = bench.read(second, 5000);
  CHECK(std::count(bytes.begin(), bytes.end(), '\0') < 60);
  CHECK_EQ(bench.read(first + 100, 1)[0], '\0');
  CHECK_EQ(bench.counters().read_bytes, 5100u);
}

TEST(one_request_gets_a_bounded_amount) {
  Bench& bench = make_bench();
  const uint64_t buffers = bench.allocate(0x20000);
  bench.queues[0]->add({{buffers, 0x9000, true}, {buffers + 0x10000, 0x9000, true}});
  bench.kick(0);
  REQUIRE(bench.await([&] { return bench.queues[0]->has_used(); }));
  CHECK_EQ(bench.queues[0]->reap()->length, RngDevice::kMaxRequest);
  CHECK_EQ(bench.read(buffers + 0x10000 + 0x7000, 1)[0], '\0');
}

TEST(requests_without_room_get_nothing) {
  Bench& bench = make_bench();
  bench.queues[0]->add({{bench.allocate(16), 16, false}});
  bench.kick(0);
  REQUIRE(bench.await([&] { return bench.queues[0]->has_used(); }));
  CHECK_EQ(bench.queues[0]->reap()->length, 0u);
  CHECK_EQ(bench.counters().errors, 1u);
}

TEST(a_flood_of_requests_is_served_in_turns) {
  Bench& bench = make_bench();
  const uint64_t buffer = bench.allocate(16);
  for (int i = 0; i < 64; ++i) bench.queues[0]->add({{buffer, 4, true}});
  bench.run([&] {
    bench.device->kicked(0);
    CHECK_EQ(bench.queues[0]->waiting(), RngDevice::kRequestsPerTurn);
    bench.device->kicked(0);  // its turn is over
    CHECK_EQ(bench.queues[0]->waiting(), RngDevice::kRequestsPerTurn);
  });
  CHECK(bench.await([&] { return bench.queues[0]->waiting() == 64; }));
}

TEST(its_limit_holds_and_can_change) {
  volley_device config{};
  config.limits[0].bytes = {1000, 0, 3'600'000};
  Bench& bench = make_bench(config);
  const uint64_t buffer = bench.allocate(600);
  for (int i = 0; i < 3; ++i) bench.queues[0]->add({{buffer, 600, true}});
  bench.kick(0);
  bench.kick(0);
  bench.settle();
  CHECK_EQ(bench.queues[0]->waiting(), 1u);
  CHECK_EQ(bench.counters().throttled, 1u);
  bench.run([&] {
    CHECK(!bench.device->set_limit(1, {}));
    CHECK(bench.device->set_limit(0, {}));
  });
  CHECK(bench.await([&] { return bench.queues[0]->waiting() == 3; }));
}

TEST(a_broken_queue_asks_for_a_reset) {
  Bench& bench = make_bench();
  bench.queues[0]->ring.put_descriptor(0, 0x1000, 0, GuestDriver::kWrite, 0);
  bench.queues[0]->ring.offer(0);
  bench.kick(0);
  CHECK(bench.host.broken);
  bench.reset();
  bench.activate(0, 1, 64);
  bench.queues[0]->add({{bench.allocate(16), 16, true}});
  bench.kick(0);
  CHECK(bench.await([&] { return bench.queues[0]->has_used(); }));
}

}  // namespace
}  // namespace volley
