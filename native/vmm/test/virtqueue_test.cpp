#include "virtio/virtqueue.h"

#include <atomic>
#include <thread>

#include "memory/layout.h"
#include "support/check.h"
#include "support/guest_driver.h"

namespace volley {
namespace {

constexpr uint64_t kMemory = 4ull << 20;
constexpr uint64_t kRing = 0x10000;
constexpr uint64_t kBuffers = 0x100000;
constexpr uint64_t kTable = 0x80000;

using Pop = Virtqueue::Pop;

struct Bench {
  explicit Bench(uint16_t size = 8, bool event_index = true, bool indirect = true) : driver(map(), kRing, size) {
    ready = queue.set_up(memory, driver.layout(), 256, event_index, indirect);
  }

  GuestMemory& map() {
    if (!memory.map(kMemory, true).is_ok()) abort();
    return memory;
  }
  // What becomes of one descriptor 0 as the whole request.
  Pop pop_descriptor(uint64_t address, uint32_t length, uint16_t flags, uint16_t next = 0) {
    driver.put_descriptor(0, address, length, flags, next);
    driver.offer(0);
    return queue.pop(&chain);
  }

  GuestMemory memory;
  GuestDriver driver;
  Virtqueue queue;
  Chain chain;
  bool ready = false;
};

TEST(a_request_goes_round) {
  Bench bench;
  REQUIRE(bench.ready);
  CHECK_EQ(bench.queue.pop(&bench.chain), Pop::kEmpty);
  bench.driver.put_chain(3, {{kBuffers, 16, false}, {kBuffers + 0x1000, 512, false}, {kBuffers + 0x2000, 1, true}});
  bench.driver.put(kBuffers + 12, uint32_t{0x11223344});
  bench.driver.offer(3);
  REQUIRE(bench.queue.pop(&bench.chain) == Pop::kChain);
  CHECK_EQ(bench.chain.head, 3);
  CHECK_EQ(bench.chain.readable_count, 2);
  CHECK_EQ(bench.chain.writable_count, 1);
  CHECK_EQ(bench.chain.readable_bytes, 528u);
  CHECK_EQ(bench.chain.writable_bytes, 1u);
  uint8_t seam[8] = {};
  CHECK_EQ(bench.chain.copy_out(12, seam), 8u);
  CHECK_EQ(seam[0], 0x44);
  CHECK_EQ(bench.chain.copy_out(525, seam), 3u);
  CHECK_EQ(bench.chain.copy_out(528, seam), 0u);
  const uint8_t status[2] = {7, 7};
  CHECK_EQ(bench.chain.copy_in(0, status), 1u);
  CHECK_EQ(bench.driver.get<uint8_t>(kBuffers + 0x2000), 7);

  bench.queue.push(bench.chain, 1);
  CHECK_EQ(bench.driver.used_index(), 0);  // not before it is published
  CHECK(bench.queue.publish());
  CHECK_EQ(bench.driver.used_index(), 1);
  CHECK_EQ(bench.driver.used_head(0), 3u);
  CHECK_EQ(bench.driver.used_length(0), 1u);
  CHECK(!bench.queue.publish());
}

TEST(indices_wrap_at_65536) {
  Bench bench(4);
  bench.driver.put_chain(0, {{kBuffers, 8, true}});
  for (uint32_t i = 0; i < 3 * 65536 + 5; ++i) {
    bench.driver.set_used_event(static_cast<uint16_t>(i));
    bench.driver.offer(0);
    if (bench.queue.pop(&bench.chain) != Pop::kChain) {
      CHECK_EQ(i, 0u);
      return;
    }
    bench.queue.push(bench.chain, i);
    if (!bench.queue.publish()) CHECK_EQ(i, 0u);
  }
  CHECK_EQ(bench.driver.used_index(), 5);
  CHECK_EQ(bench.queue.pop(&bench.chain), Pop::kEmpty);
}

TEST(requests_come_back_in_any_order) {
  Bench bench;
  for (uint16_t i = 0; i < 8; ++i) bench.driver.put_chain(i, {{kBuffers + i * 64u, 64, true}});
  for (uint16_t i = 0; i < 8; ++i) bench.driver.offer(i);
  uint16_t heads[8];
  for (uint16_t& head : heads) {
    REQUIRE(bench.queue.pop(&bench.chain) == Pop::kChain);
    head = bench.chain.head;
  }
  CHECK_EQ(bench.queue.pop(&bench.chain), Pop::kEmpty);
  for (int i = 7; i >= 0; --i) bench.queue.push(heads[i], static_cast<uint32_t>(i));
  CHECK(bench.queue.publish());
  CHECK_EQ(bench.driver.used_index(), 8);
  CHECK_EQ(bench.driver.used_head(0), 7u);
  CHECK_EQ(bench.driver.used_length(7), 0u);
  bench.queue.push(uint16_t{3}, 1);  // nothing is out: nothing can come back
  CHECK(!bench.queue.publish());
}

TEST(undone_pops_come_again) {
  Bench bench;
  for (uint16_t i = 0; i < 3; ++i) {
    bench.driver.put_chain(i, {{kBuffers, 8, true}});
    bench.driver.offer(i);
  }
  for (int i = 0; i < 3; ++i) CHECK_EQ(bench.queue.pop(&bench.chain), Pop::kChain);
  bench.queue.undo_pop();
  bench.queue.undo_pop();
  REQUIRE(bench.queue.pop(&bench.chain) == Pop::kChain);
  CHECK_EQ(bench.chain.head, 1);
  bench.queue.undo_pop();
  bench.queue.undo_pop();
  bench.queue.undo_pop();  // once too often: no effect
  REQUIRE(bench.queue.pop(&bench.chain) == Pop::kChain);
  CHECK_EQ(bench.chain.head, 0);
}

TEST(interrupts_follow_used_event) {
  Bench bench(8);
  bench.driver.put_chain(0, {{kBuffers, 8, true}});
  bench.driver.set_used_event(2);
  for (int i = 0; i < 4; ++i) {
    bench.driver.offer(0);
    REQUIRE(bench.queue.pop(&bench.chain) == Pop::kChain);
    bench.queue.push(bench.chain, 0);
    CHECK_EQ(bench.queue.publish(), i == 2);
  }
  // Several at once that pass the wished entry.
  bench.driver.set_used_event(5);
  for (int i = 0; i < 3; ++i) bench.driver.offer(0);
  for (int i = 0; i < 3; ++i) {
    REQUIRE(bench.queue.pop(&bench.chain) == Pop::kChain);
    bench.queue.push(bench.chain, 0);
  }
  CHECK(bench.queue.publish());
}

TEST(without_event_indexes_flags_decide) {
  Bench bench(8, false);
  bench.driver.put_chain(0, {{kBuffers, 8, true}});
  bench.driver.set_available_flags(1);
  bench.driver.offer(0);
  REQUIRE(bench.queue.pop(&bench.chain) == Pop::kChain);
  bench.queue.push(bench.chain, 0);
  CHECK(!bench.queue.publish());
  bench.driver.set_available_flags(0);
  bench.driver.offer(0);
  REQUIRE(bench.queue.pop(&bench.chain) == Pop::kChain);
  bench.queue.push(bench.chain, 0);
  CHECK(bench.queue.publish());

  bench.queue.disable_kicks();
  CHECK_EQ(bench.driver.used_flags(), 1);
  bench.driver.offer(0);
  CHECK(bench.queue.enable_kicks());
  CHECK_EQ(bench.driver.used_flags(), 0);
  CHECK_EQ(bench.queue.pop(&bench.chain), Pop::kChain);
  CHECK(!bench.queue.enable_kicks());
}

TEST(kicks_are_asked_for_by_index) {
  Bench bench;
  bench.driver.put_chain(0, {{kBuffers, 8, true}});
  bench.queue.disable_kicks();
  CHECK_EQ(bench.driver.used_flags(), 0);
  for (int i = 0; i < 3; ++i) bench.driver.offer(0);
  for (int i = 0; i < 2; ++i) CHECK_EQ(bench.queue.pop(&bench.chain), Pop::kChain);
  CHECK(bench.queue.enable_kicks());
  CHECK_EQ(bench.driver.available_event(), 2);
  CHECK_EQ(bench.queue.pop(&bench.chain), Pop::kChain);
  CHECK(!bench.queue.enable_kicks());
  CHECK_EQ(bench.driver.available_event(), 3);
}

TEST(indirect_tables_are_followed) {
  Bench bench(2);
  std::vector<GuestDriver::Piece> pieces;
  for (uint32_t i = 0; i < Chain::kMaxBuffers; ++i) pieces.push_back({kBuffers + i * 512, 512, i >= 100});
  bench.driver.put_indirect(1, kTable, pieces);
  bench.driver.offer(1);
  REQUIRE(bench.queue.pop(&bench.chain) == Pop::kChain);
  CHECK_EQ(bench.chain.readable_count, 100);
  CHECK_EQ(bench.chain.writable_count, 156);
  CHECK_EQ(bench.chain.head, 1);
  iovec parts[300];
  CHECK_EQ(slice(bench.chain.writable(), 500, 1000, parts), 3u);
  CHECK_EQ(parts[0].iov_len, 12u);
  CHECK_EQ(parts[1].iov_len, 512u);
  CHECK_EQ(parts[2].iov_len, 476u);
  CHECK_EQ(slice(bench.chain.writable(), 156 * 512 - 1, 1000, parts), 1u);
  CHECK_EQ(slice(bench.chain.writable(), 156 * 512, 1000, parts), 0u);
  CHECK_EQ(slice(bench.chain.readable(), 0, ~0ull, {parts, 7}), 7u);

  // Direct descriptors first, then a table.
  bench.queue.push(bench.chain, 0);
  bench.driver.put_descriptor_at(kTable, kBuffers, 8, GuestDriver::kWrite, 0);
  bench.driver.put_descriptor(0, kBuffers, 16, GuestDriver::kNext, 1);
  bench.driver.put_descriptor(1, kTable, 16, GuestDriver::kIndirect, 0);
  bench.driver.offer(0);
  REQUIRE(bench.queue.pop(&bench.chain) == Pop::kChain);
  CHECK_EQ(bench.chain.readable_count, 1);
  CHECK_EQ(bench.chain.writable_count, 1);
}

TEST(bad_layouts_are_refused) {
  GuestMemory memory;
  REQUIRE(memory.map(kMemory, true).is_ok());
  Virtqueue queue;
  const QueueLayout good{.size = 8, .descriptors = 0x1000, .available = 0x2000, .used = 0x3000};
  CHECK(queue.set_up(memory, good, 256, true, true));
  const auto refused = [&](auto spoil) {
    QueueLayout layout = good;
    spoil(layout);
    const bool taken = queue.set_up(memory, layout, 256, true, true);
    return !taken && !queue.is_ready();
  };
  CHECK(refused([](auto& l) { l.size = 0; }));
  CHECK(refused([](auto& l) { l.size = 7; }));
  CHECK(refused([](auto& l) { l.size = 512; }));
  CHECK(refused([](auto& l) { l.size = 0x8000; }));
  CHECK(refused([](auto& l) { l.descriptors += 8; }));
  CHECK(refused([](auto& l) { l.available += 1; }));
  CHECK(refused([](auto& l) { l.used += 2; }));
  CHECK(refused([](auto& l) { l.descriptors = kMemory - 127 + 15; }));
  CHECK(refused([](auto& l) { l.available = kMemory - 20; }));
  CHECK(refused([](auto& l) { l.used = kMemory - 68; }));
  CHECK(refused([](auto& l) { l.used = ~0ull - 3; }));
  CHECK(refused([](auto& l) { l.descriptors = kMmioGapStart; }));
  CHECK(!refused([](auto& l) { l.used = kMemory - 72; }));
}

TEST(a_queue_that_is_not_ready_is_empty) {
  Virtqueue queue;
  Chain chain;
  CHECK_EQ(queue.pop(&chain), Pop::kEmpty);
  CHECK(!queue.publish());
  CHECK(!queue.enable_kicks());
  queue.disable_kicks();
  queue.push(uint16_t{0}, 0);
}

// Every one breaks the queue, for good.
TEST(hostile_rings_break_the_queue) {
  const struct {
    const char* what;
    Pop (*attack)(Bench&);
  } kAttacks[] = {
      {"address behind RAM", [](Bench& b) { return b.pop_descriptor(kMemory, 8, 0); }},
      {"end behind RAM", [](Bench& b) { return b.pop_descriptor(kMemory - 4, 8, 0); }},
      {"address wraps", [](Bench& b) { return b.pop_descriptor(~0ull - 3, 8, 0); }},
      {"length as large as can be", [](Bench& b) { return b.pop_descriptor(kBuffers, ~0u, 0); }},
      {"device window", [](Bench& b) { return b.pop_descriptor(VOLLEY_VIRTIO_FIRST, 8, 2); }},
      {"zero length", [](Bench& b) { return b.pop_descriptor(kBuffers, 0, 0); }},
      {"next outside the table", [](Bench& b) { return b.pop_descriptor(kBuffers, 8, GuestDriver::kNext, 8); }},
      {"next far outside", [](Bench& b) { return b.pop_descriptor(kBuffers, 8, GuestDriver::kNext, 0xffff); }},
      {"loop to itself", [](Bench& b) { return b.pop_descriptor(kBuffers, 8, GuestDriver::kNext, 0); }},
      {"loop of two",
       [](Bench& b) {
         b.driver.put_descriptor(1, kBuffers, 8, GuestDriver::kNext, 0);
         return b.pop_descriptor(kBuffers, 8, GuestDriver::kNext, 1);
       }},
      {"readable after writable",
       [](Bench& b) {
         b.driver.put_descriptor(1, kBuffers, 8, 0, 0);
         return b.pop_descriptor(kBuffers, 8, GuestDriver::kNext | GuestDriver::kWrite, 1);
       }},
      {"head outside the table",
       [](Bench& b) {
         b.driver.offer(8);
         return b.queue.pop(&b.chain);
       }},
      {"index jumps by more than the queue",
       [](Bench& b) {
         b.driver.put_chain(0, {{kBuffers, 8, true}});
         b.driver.set_available_index(9);
         return b.queue.pop(&b.chain);
       }},
      {"index goes back",
       [](Bench& b) {
         b.driver.put_chain(0, {{kBuffers, 8, true}});
         b.driver.offer(0);
         if (b.queue.pop(&b.chain) != Pop::kChain) return Pop::kEmpty;
         b.driver.set_available_index(0);
         return b.queue.pop(&b.chain);
       }},
      {"more requests out than descriptors",
       [](Bench& b) {
         b.driver.put_chain(0, {{kBuffers, 8, true}});
         for (int i = 0; i < 8; ++i) {
           b.driver.offer(0);
           if (b.queue.pop(&b.chain) != Pop::kChain) return Pop::kEmpty;
         }
         b.driver.offer(0);
         return b.queue.pop(&b.chain);
       }},
      {"indirect and next",
       [](Bench& b) { return b.pop_descriptor(kTable, 16, GuestDriver::kIndirect | GuestDriver::kNext, 1); }},
      {"indirect and writable",
       [](Bench& b) { return b.pop_descriptor(kTable, 16, GuestDriver::kIndirect | GuestDriver::kWrite); }},
      {"empty table", [](Bench& b) { return b.pop_descriptor(kTable, 0, GuestDriver::kIndirect); }},
      {"crooked table", [](Bench& b) { return b.pop_descriptor(kTable, 24, GuestDriver::kIndirect); }},
      {"table behind RAM", [](Bench& b) { return b.pop_descriptor(kMemory - 8, 16, GuestDriver::kIndirect); }},
      {"table in a table",
       [](Bench& b) {
         b.driver.put_descriptor_at(kTable, kTable + 64, 16, GuestDriver::kIndirect, 0);
         b.driver.put_descriptor_at(kTable + 64, kBuffers, 8, 0, 0);
         return b.pop_descriptor(kTable, 16, GuestDriver::kIndirect);
       }},
      {"table on top of the queue's own, in itself",  // once followed for ever
       [](Bench& b) { return b.pop_descriptor(kRing, 16, GuestDriver::kIndirect); }},
      {"loop in a table",
       [](Bench& b) {
         b.driver.put_descriptor_at(kTable, kBuffers, 8, GuestDriver::kNext, 1);
         b.driver.put_descriptor_at(kTable + 16, kBuffers, 8, GuestDriver::kNext, 0);
         return b.pop_descriptor(kTable, 32, GuestDriver::kIndirect);
       }},
      {"next outside a table",
       [](Bench& b) {
         b.driver.put_descriptor_at(kTable, kBuffers, 8, GuestDriver::kNext, 1);
         return b.pop_descriptor(kTable, 16, GuestDriver::kIndirect);
       }},
      {"more buffers than a chain may have",
       [](Bench& b) {
         std::vector<GuestDriver::Piece> pieces(Chain::kMaxBuffers + 1, {kBuffers, 8, false});
         b.driver.put_indirect(0, kTable, pieces);
         b.driver.offer(0);
         return b.queue.pop(&b.chain);
       }},
  };
  for (const auto& attack : kAttacks) {
    Bench bench;
    const Pop result = attack.attack(bench);
    if (result != Pop::kBroken) check::report(__FILE__, __LINE__, std::string("survived: ") + attack.what);
    CHECK(bench.queue.is_broken());
    // Nothing works any more, whatever the driver repairs.
    bench.driver.put_chain(0, {{kBuffers, 8, true}});
    bench.driver.offer(0);
    CHECK_EQ(bench.queue.pop(&bench.chain), Pop::kBroken);
    bench.queue.push(uint16_t{0}, 0);
    CHECK(!bench.queue.publish());
    // Until it is set up anew.
    GuestDriver fresh(bench.memory, kRing, 8);
    CHECK(bench.queue.set_up(bench.memory, fresh.layout(), 256, true, true));
    CHECK_EQ(bench.queue.pop(&bench.chain), Pop::kEmpty);
  }
}

TEST(indirect_is_refused_where_it_was_not_negotiated) {
  Bench bench(8, true, false);
  bench.driver.put_indirect(0, kTable, {{kBuffers, 8, true}});
  bench.driver.offer(0);
  CHECK_EQ(bench.queue.pop(&bench.chain), Pop::kBroken);
}

TEST(a_chain_may_not_span_two_regions_of_memory) {
  GuestMemory memory;
  REQUIRE(memory.map(kMmioGapStart + (1ull << 20), true).is_ok());
  GuestDriver driver(memory, kRing, 8);
  Virtqueue queue;
  Chain chain;
  REQUIRE(queue.set_up(memory, driver.layout(), 8, true, true));
  driver.put_chain(0, {{kMmioGapStart - 8, 8, true}, {kMmioGapEnd, 8, true}});
  driver.offer(0);
  CHECK_EQ(queue.pop(&chain), Pop::kChain);
  driver.put_chain(0, {{kMmioGapStart - 8, 16, true}});
  driver.offer(0);
  CHECK_EQ(queue.pop(&chain), Pop::kBroken);
}

// The driver changes descriptors while the device reads them: whatever mixture the device saw, it is in RAM.
TEST(descriptors_that_change_while_they_are_read) {
  Bench bench;
  std::atomic<bool> done{false};
  std::thread attacker([&] {
    while (!done.load(std::memory_order_relaxed)) {
      bench.driver.put_descriptor(0, kBuffers, 4096, GuestDriver::kNext, 1);
      bench.driver.put_descriptor(1, kBuffers, 64, GuestDriver::kWrite, 0);
      bench.driver.put_descriptor(0, kMemory - 64, 64, GuestDriver::kNext, 1);
      bench.driver.put_descriptor(1, ~0ull, ~0u, GuestDriver::kNext, 0xffff);
      bench.driver.put_descriptor(0, kTable, 4096, GuestDriver::kIndirect, 1);
    }
  });
  const uint8_t* low = bench.memory.host_base();
  for (int i = 0; i < 200'000; ++i) {
    bench.driver.offer(0);
    const Pop result = bench.queue.pop(&bench.chain);
    if (result == Pop::kChain) {
      uint64_t total = 0;
      for (uint32_t k = 0; k < bench.chain.readable_count + 0u + bench.chain.writable_count; ++k) {
        const GuestBuffer& buffer = bench.chain.buffers[k];
        total += buffer.length;
        if (buffer.data < low || buffer.length == 0 || buffer.length > kMemory ||
            buffer.data + buffer.length > low + kMemory) {
          CHECK(false);
        }
      }
      if (total != bench.chain.readable_bytes + bench.chain.writable_bytes) CHECK(false);
      bench.queue.push(bench.chain, 0);
      (void)bench.queue.publish();
      continue;
    }
    GuestDriver(bench.memory, kRing, 8).set_available_index(0);
    bench.driver.set_available_index(0);
    if (!bench.queue.set_up(bench.memory, bench.driver.layout(), 256, true, true)) CHECK(false);
  }
  done = true;
  attacker.join();
}

}  // namespace
}  // namespace volley
