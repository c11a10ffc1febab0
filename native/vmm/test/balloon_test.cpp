#include <linux/virtio_balloon.h>
#include <sys/mman.h>

#include <algorithm>
#include <random>

#include "balloon/balloon_device.h"
#include "balloon/balloon_statistics.h"
#include "support/device_bench.h"

namespace volley {
namespace {

using Bench = test::DeviceBench<BalloonDevice>;

constexpr uint32_t kEverything = VOLLEY_BALLOON_DEFLATE_ON_OOM | VOLLEY_BALLOON_REPORTING | VOLLEY_BALLOON_STATISTICS;
constexpr uint64_t kPage = kBalloonPage;
constexpr uint32_t kStatisticsQueue = 2;

volley_device balloon(uint32_t flags = kEverything, uint64_t size = 0, uint32_t interval_ms = 0) {
  volley_device config{};
  config.type = VOLLEY_DEVICE_BALLOON;
  config.flags = flags;
  config.size = size;
  config.stats_interval_ms = interval_ms;
  return config;
}

std::vector<PageRun> runs_of(std::vector<uint32_t> pages) {
  sort_pages(pages);
  std::span<const uint32_t> left = pages;
  std::vector<PageRun> runs;
  for (PageRun run = take_run(&left); run.count != 0; run = take_run(&left)) runs.push_back(run);
  return runs;
}

TEST(pages_are_merged_into_runs) {
  CHECK(runs_of({}).empty());
  const std::vector<PageRun> runs = runs_of({9, 3, 5, 4, 5, 0xffffffff, 10, 3});
  REQUIRE(runs.size() == 3);
  CHECK_EQ(runs[0].first, 3u);
  CHECK_EQ(runs[0].count, 3u);
  CHECK_EQ(runs[1].first, 9u);
  CHECK_EQ(runs[1].count, 2u);
  CHECK_EQ(runs[2].first, 0xffffffffu);
  CHECK_EQ(runs[2].count, 1u);
}

TEST(known_statistics_are_published_and_others_skipped) {
  volley_balloon_stats stats{};
  const BalloonStatistic values[] = {
      {VIRTIO_BALLOON_S_MEMFREE, 1}, {999, 2}, {VIRTIO_BALLOON_S_CACHES, 3}, {VIRTIO_BALLOON_S_MEMFREE, 4}};
  publish_statistics(stats, values, 77);
  CHECK_EQ(stats.free_memory, 4u);
  CHECK_EQ(stats.disk_caches, 3u);
  CHECK_EQ(stats.updated_ns, 77u);
  CHECK_EQ(stats.swap_in, 0u);
}

size_t resident(Bench& bench, uint64_t from, uint64_t pages) {
  std::vector<unsigned char> map(pages);
  mincore(bench.memory.range(from, pages * kPage).data(), pages * kPage, map.data());
  return static_cast<size_t>(std::count_if(map.begin(), map.end(), [](unsigned char c) { return (c & 1) != 0; }));
}

bool all_zero(Bench& bench, uint64_t from, uint64_t bytes) {
  const std::string content = bench.read(from, bytes);
  return std::all_of(content.begin(), content.end(), [](char c) { return c == 0; });
}

void dirty(Bench& bench, uint64_t from, uint64_t pages) {
  const std::span<uint8_t> range = bench.memory.range(from, pages * kPage);
  std::fill(range.begin(), range.end(), uint8_t{0xab});
}

uint16_t inflate(Bench& bench, uint32_t queue, const std::vector<uint32_t>& pages) {
  const uint64_t list = bench.allocate(pages.size() * 4);
  bench.write(list, pages.data(), pages.size() * 4);
  const uint16_t head = bench.queues[queue]->add({{list, static_cast<uint32_t>(pages.size() * 4), false}});
  bench.kick(queue);
  return head;
}

TEST(features_and_queues_follow_the_configuration) {
  Bench& all = Bench::make();
  REQUIRE(all.open(balloon()).is_ok());
  CHECK_EQ(all.device->features(), 0x26u);
  CHECK_EQ(all.device->queue_sizes().size(), 4u);
  Bench& none = Bench::make();
  REQUIRE(none.open(balloon(0)).is_ok());
  CHECK_EQ(none.device->features(), 0u);
  CHECK_EQ(none.device->queue_sizes().size(), 2u);
  Bench& large = Bench::make();
  CHECK_CONTAINS(large.open(balloon(0, Bench::kMemory + 4096)).message(), "the guest has");
}

TEST(inflated_pages_leave_the_host_and_read_as_zeros) {
  Bench& bench = Bench::make();
  REQUIRE(bench.open(balloon()).is_ok());
  bench.activate(bench.device->features(), 4);
  const uint64_t area = 8ull << 20;
  dirty(bench, area, 256);
  CHECK_EQ(resident(bench, area, 256), 256u);
  std::vector<uint32_t> pages;
  for (uint32_t i = 0; i < 256; ++i) pages.push_back(static_cast<uint32_t>(area / kPage) + i);
  std::shuffle(pages.begin(), pages.end(), std::minstd_rand(1));
  inflate(bench, 0, pages);
  CHECK(bench.await([&] { return bench.queues[0]->has_used(); }));
  CHECK_EQ(resident(bench, area, 256), 0u);
  CHECK(all_zero(bench, area, 256 * kPage));
  CHECK_EQ(bench.counters().read_bytes, 256 * kPage);
  CHECK_EQ(bench.counters().reads, 1u);
  CHECK_EQ(bench.counters().errors, 0u);
  inflate(bench, 1, pages);  // deflate: nothing but an answer
  CHECK(bench.await([&] { return bench.queues[1]->has_used(); }));
}

TEST(page_numbers_outside_memory_are_refused) {
  Bench& bench = Bench::make();
  REQUIRE(bench.open(balloon()).is_ok());
  bench.activate(bench.device->features(), 4);
  const uint64_t area = 8ull << 20;
  dirty(bench, area, 4);
  const auto page = static_cast<uint32_t>(area / kPage);
  inflate(bench, 0, {0xffffffff, page, 0xc0000, 0x100000, static_cast<uint32_t>(Bench::kMemory / kPage), page + 2});
  CHECK(bench.await([&] { return bench.queues[0]->has_used(); }));
  CHECK_EQ(bench.counters().errors, 4u);
  CHECK_EQ(bench.counters().read_bytes, 2 * kPage);
  CHECK_EQ(resident(bench, area, 4), 2u);
  CHECK(!bench.host.broken);
}

TEST(a_list_that_is_too_long_or_torn_is_cut) {
  Bench& bench = Bench::make();
  REQUIRE(bench.open(balloon()).is_ok());
  bench.activate(bench.device->features(), 4);
  const uint64_t list = bench.allocate(4 * 5000);
  for (int i = 0; i < 5000; ++i) {
    const uint32_t page = (8u << 20) / kPage;
    bench.write(list + 4ull * static_cast<uint64_t>(i), &page, 4);
  }
  bench.queues[0]->add({{list, 4 * 5000, false}});
  bench.queues[0]->add({{list, 3, false}});
  bench.queues[0]->add({{list, 2, false}, {list + 2, 2, false}});  // one number in two pieces
  bench.queues[0]->add({{list, 8, true}});                         // nothing to read
  bench.kick(0);
  CHECK(bench.await([&] { return bench.queues[0]->waiting() == 4; }));
  CHECK_EQ(bench.counters().errors, 2u);
  CHECK_EQ(bench.counters().read_bytes, (4 + 1) * kPage);  // a run in each of 1024 / 256 parts, and the last
}

TEST(reported_pages_leave_the_host) {
  for (const bool statistics : {true, false}) {
    Bench& bench = Bench::make();
    REQUIRE(bench.open(balloon()).is_ok());
    const uint64_t features = bench.device->features() & ~(statistics ? 0ull : 1ull << VIRTIO_BALLOON_F_STATS_VQ);
    bench.activate(features, 4);
    // Without statistics that queue does not exist, and reporting moves up.
    const uint32_t queue = statistics ? 3 : 2;
    const uint64_t area = 8ull << 20;
    dirty(bench, area, 64);
    bench.queues[queue]->add({{area, 16 * kPage, true},
                              {area + 20 * kPage + 100, static_cast<uint32_t>(2 * kPage), true},
                              {area + 30 * kPage, 100, true}});
    bench.kick(queue);
    CHECK(bench.await([&] { return bench.queues[queue]->has_used(); }));
    CHECK_EQ(resident(bench, area, 64), 64u - 16 - 1);
    CHECK_EQ(bench.counters().write_bytes, 17 * kPage);
    CHECK(all_zero(bench, area, 16 * kPage));
    CHECK_EQ(bench.read(area + 30 * kPage, 1)[0], static_cast<char>(0xab));
  }
}

TEST(the_target_is_told_and_the_actual_size_heard) {
  Bench& bench = Bench::make();
  REQUIRE(bench.open(balloon(kEverything, 2ull << 20)).is_ok());
  CHECK_EQ(bench.stats.balloon.target, 2ull << 20);
  uint32_t config[2];
  bench.device->read_config(0, {reinterpret_cast<uint8_t*>(config), 8});
  CHECK_EQ(config[0], 512u);
  bench.activate(bench.device->features(), 4);
  volley_message message{};
  message.type = VOLLEY_CMD_SET_BALLOON;
  message.payload.bytes = (4ull << 20) + 1;
  UniqueFd none;
  int status = -1;
  bench.run([&] { status = bench.device->command(message, none); });
  CHECK_EQ(status, 0);
  CHECK_EQ(bench.host.config_changes.load(), 1u);
  bench.device->read_config(0, {reinterpret_cast<uint8_t*>(config), 8});
  CHECK_EQ(config[0], 1024u);
  message.payload.bytes = Bench::kMemory + 1;
  bench.run([&] { status = bench.device->command(message, none); });
  CHECK_EQ(status, EINVAL);
  message.type = VOLLEY_CMD_VSOCK_ANSWER;
  bench.run([&] { status = bench.device->command(message, none); });
  CHECK_EQ(status, ENOSYS);
  const uint32_t actual = 700;
  bench.run([&] { bench.device->write_config(4, {reinterpret_cast<const uint8_t*>(&actual), 4}); });
  CHECK_EQ(bench.stats.balloon.actual, 700 * kPage);
  bench.run([&] { bench.device->write_config(0, {reinterpret_cast<const uint8_t*>(&actual), 4}); });
  bench.device->read_config(0, {reinterpret_cast<uint8_t*>(config), 8});
  CHECK_EQ(config[0], 1024u);  // the target is not the driver's
  CHECK_EQ(config[1], 700u);
}

TEST(statistics_are_asked_for_again_and_again) {
  Bench& bench = Bench::make();
  REQUIRE(bench.open(balloon(kEverything, 0, 1)).is_ok());
  bench.activate(bench.device->features(), 4);
  test::DriverQueue& queue = *bench.queues[kStatisticsQueue];
  const uint64_t buffer = bench.allocate(1024);
  for (uint64_t round = 1; round <= 3; ++round) {
    const BalloonStatistic values[] = {{VIRTIO_BALLOON_S_AVAIL, round * 1000}, {VIRTIO_BALLOON_S_MEMTOT, 5}};
    bench.write(buffer, values, sizeof(values));
    queue.add({{buffer, sizeof(values), false}});
    bench.kick(kStatisticsQueue);
    CHECK_EQ(bench.stats.balloon.available_memory, round * 1000);
    CHECK(bench.stats.balloon.updated_ns != 0);
    REQUIRE(bench.await([&] { return queue.has_used(); }));  // given back: the next question
    CHECK_EQ(queue.reap()->length, 0u);
  }
}

TEST(a_second_statistics_buffer_waits_for_its_turn) {
  Bench& bench = Bench::make();
  REQUIRE(bench.open(balloon(kEverything, 0, 1)).is_ok());
  bench.activate(bench.device->features(), 4);
  test::DriverQueue& queue = *bench.queues[kStatisticsQueue];
  const uint64_t buffer = bench.allocate(1024);
  for (int i = 0; i < 10; ++i) queue.add({{buffer, 7, false}});  // torn ones, too
  bench.kick(kStatisticsQueue);
  CHECK(bench.await([&] { return queue.waiting() == 9 || queue.waiting() == 10; }));
  CHECK(!bench.host.broken);
}

TEST(a_broken_ring_asks_for_a_reset_and_a_reset_mends_it) {
  Bench& bench = Bench::make();
  REQUIRE(bench.open(balloon(kEverything, 0, 1)).is_ok());
  bench.activate(bench.device->features(), 4);
  for (uint32_t i = 0; i < 4; ++i) {
    bench.queues[i]->ring.put_chain(0, {{Bench::kMemory - 4, 8, false}});
    bench.queues[i]->ring.offer(0);
    bench.kick(i);
    CHECK(bench.await([&] { return bench.host.broken.load(); }));
    bench.reset();
    bench.activate(bench.device->features(), 4);
  }
  inflate(bench, 0, {1000});
  CHECK(bench.await([&] { return bench.queues[0]->has_used(); }));
}

TEST(a_flood_of_requests_is_served_in_turns) {
  Bench& bench = Bench::make();
  REQUIRE(bench.open(balloon()).is_ok());
  bench.activate(bench.device->features(), 4);
  const uint64_t list = bench.allocate(4);
  for (int i = 0; i < 256; ++i) bench.queues[0]->add({{list, 4, false}});
  bench.run([&] {
    bench.device->kicked(0);
    CHECK(bench.queues[0]->waiting() < 256);  // one turn is less than all
  });
  CHECK(bench.await([&] { return bench.queues[0]->waiting() == 256; }));
}

TEST(nothing_moves_while_paused) {
  Bench& bench = Bench::make();
  REQUIRE(bench.open(balloon(kEverything, 0, 1)).is_ok());
  bench.activate(bench.device->features(), 4);
  const uint64_t buffer = bench.allocate(64);
  bench.queues[kStatisticsQueue]->add({{buffer, 10, false}});
  bench.kick(kStatisticsQueue);
  REQUIRE(bench.await([&] { return bench.queues[kStatisticsQueue]->has_used(); }));
  bench.queues[kStatisticsQueue]->reap();
  REQUIRE(bench.loop.pause(monotonic_ns() + 10'000'000'000));
  bench.queues[kStatisticsQueue]->add({{buffer, 10, false}});
  const uint32_t interrupts = bench.host.interrupts;
  bench.settle();
  CHECK_EQ(bench.host.interrupts.load(), interrupts);
  CHECK(!bench.queues[kStatisticsQueue]->has_used());
  bench.loop.resume();
  bench.kick(kStatisticsQueue);
  CHECK(bench.await([&] { return bench.queues[kStatisticsQueue]->has_used(); }));
}

}  // namespace
}  // namespace volley
