#include "devices/serial.h"

#include <string>

#include "abi/volley_abi.h"
#include "support/check.h"

namespace volley {
namespace {

class RecordingLine final : public InterruptLine {
 public:
  void set(bool new_level) override {
    level = new_level;
    ++changes;
  }
  bool level = false;
  int changes = 0;
};

struct Bench {
  std::vector<uint8_t> bytes = std::vector<uint8_t>(VOLLEY_SERIAL_RING);
  uint64_t head = 0;
  volley_stats stats{};
  RecordingLine line;
  Serial serial{SerialRing(bytes.data(), head), stats};

  Bench() { serial.connect(line); }
  size_t type(const std::string& text) {
    return serial.type({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }

  void out(uint64_t reg, uint8_t value) { serial.write(reg, {&value, 1}); }
  uint8_t in(uint64_t reg) {
    uint8_t value = 0;
    serial.read(reg, {&value, 1});
    return value;
  }
  std::string text() const { return std::string(bytes.begin(), bytes.begin() + static_cast<long>(head)); }
};

enum : uint64_t { kData, kIer, kIir, kLcr, kMcr, kLsr, kMsr, kScr };

TEST(data_goes_to_the_ring) {
  Bench bench;
  for (const char c : std::string("hello")) bench.out(kData, static_cast<uint8_t>(c));
  CHECK_EQ(bench.text(), "hello");
}

TEST(transmitter_is_always_empty) {
  Bench bench;
  CHECK_EQ(bench.in(kLsr), 0x60);
  bench.out(kData, 'x');
  CHECK_EQ(bench.in(kLsr), 0x60);
}

TEST(divisor_latch_is_not_output) {
  Bench bench;
  bench.out(kLcr, 0x83);
  bench.out(kData, 0x01);
  bench.out(kIer, 0x02);
  CHECK_EQ(bench.in(kData), 0x01);
  CHECK_EQ(bench.in(kIer), 0x02);
  bench.out(kLcr, 0x03);
  CHECK_EQ(bench.head, 0u);
  CHECK_EQ(bench.in(kIer), 0x00);
}

// What the 8250 driver does to find out what it has.
TEST(probing_finds_a_16550a) {
  Bench bench;
  bench.out(kIer, 0);
  CHECK_EQ(bench.in(kIer), 0x00);
  bench.out(kIer, 0x0f);
  CHECK_EQ(bench.in(kIer)&0x0f, 0x0f);
  bench.out(kIer, 0);
  bench.out(kMcr, 0x10 | 0x0a);  // loop-back: OUT2 and RTS come back as DCD and CTS
  CHECK_EQ(bench.in(kMsr)&0xf0, 0x90);
  bench.out(kMcr, 0x08);
  bench.out(kIir, 0x01);  // FIFO on
  CHECK_EQ(bench.in(kIir) >> 6, 3);
  bench.out(kScr, 0x5a);
  CHECK_EQ(bench.in(kScr), 0x5a);
}

TEST(enabling_the_transmit_interrupt_raises_it) {
  Bench bench;
  bench.out(kMcr, 0x08);
  CHECK(!bench.line.level);
  bench.out(kIer, 0x02);
  CHECK(bench.line.level);
  CHECK_EQ(bench.in(kIir)&0x0f, 0x02);
  CHECK(!bench.line.level);  // reading the identification acknowledges
  CHECK_EQ(bench.in(kIir)&0x0f, 0x01);
}

TEST(each_sent_byte_raises_the_interrupt_again) {
  Bench bench;
  bench.out(kMcr, 0x08);
  bench.out(kIer, 0x02);
  bench.in(kIir);
  for (int i = 0; i < 3; ++i) {
    bench.out(kData, 'a');
    CHECK(bench.line.level);
    CHECK_EQ(bench.in(kIir)&0x0f, 0x02);
    CHECK(!bench.line.level);
  }
  bench.out(kIer, 0);
  bench.out(kData, 'a');
  CHECK(!bench.line.level);
}

TEST(out2_gates_the_interrupt) {
  Bench bench;
  bench.out(kMcr, 0x00);
  bench.out(kIer, 0x02);
  CHECK(!bench.line.level);
  bench.out(kMcr, 0x08);
  CHECK(bench.line.level);
}

TEST(loop_back_returns_bytes_instead_of_printing_them) {
  Bench bench;
  bench.out(kMcr, 0x18);
  bench.out(kData, 'z');
  CHECK_EQ(bench.head, 0u);
  CHECK_EQ(bench.in(kLsr)&0x01, 0x01);
  CHECK_EQ(bench.in(kData), 'z');
  CHECK_EQ(bench.in(kLsr)&0x01, 0x00);
}

TEST(typed_bytes_wait_for_the_guest_in_order) {
  Bench bench;
  CHECK_EQ(bench.type("ab"), 2u);
  CHECK_EQ(bench.type("c"), 1u);
  CHECK_EQ(bench.in(kLsr)&0x01, 0x01);
  CHECK_EQ(bench.in(kData), 'a');
  CHECK_EQ(bench.in(kData), 'b');
  CHECK_EQ(bench.in(kData), 'c');
  CHECK_EQ(bench.in(kLsr)&0x01, 0x00);
  CHECK_EQ(bench.head, 0u);
}

TEST(receive_buffer_takes_what_fits) {
  Bench bench;
  const std::string text(96, 'x');
  CHECK_EQ(bench.type(text), 64u);
  CHECK_EQ(bench.type("y"), 0u);
  CHECK_EQ(bench.in(kData), 'x');
  CHECK_EQ(bench.type("yz"), 1u);
  for (int i = 0; i < 63; ++i) CHECK_EQ(bench.in(kData), 'x');
  CHECK_EQ(bench.in(kData), 'y');
  CHECK_EQ(bench.in(kLsr)&0x01, 0x00);
}

TEST(typing_interrupts_until_all_is_read) {
  Bench bench;
  bench.out(kMcr, 0x08);
  bench.type("a");
  CHECK(!bench.line.level);  // nobody asked for it
  bench.out(kIer, 0x01);
  CHECK(bench.line.level);
  bench.type("b");
  CHECK_EQ(bench.in(kIir)&0x0f, 0x04);
  bench.in(kData);
  CHECK(bench.line.level);
  bench.in(kData);
  CHECK(!bench.line.level);
  CHECK_EQ(bench.in(kIir)&0x0f, 0x01);
}

TEST(clearing_the_receive_fifo_forgets_what_was_typed) {
  Bench bench;
  bench.out(kMcr, 0x08);
  bench.out(kIer, 0x01);
  bench.type("abc");
  bench.out(kIir, 0x03);
  CHECK(!bench.line.level);
  CHECK_EQ(bench.in(kLsr)&0x01, 0x00);
}

TEST(output_beyond_the_limit_is_dropped_and_counted) {
  Bench bench;
  volley_limiter limit{};
  limit.bytes = {.size = 10, .burst = 5, .refill_ms = 3'600'000};
  CHECK(bench.serial.set_limit(limit));
  for (int i = 0; i < 100; ++i) bench.out(kData, 'x');
  CHECK_EQ(bench.head, 15u);
  CHECK_EQ(bench.stats.serial_dropped, 85u);
  CHECK_EQ(bench.in(kLsr), 0x60);  // the guest never waits
  CHECK(bench.serial.set_limit(volley_limiter{}));
  for (int i = 0; i < 100; ++i) bench.out(kData, 'x');
  CHECK_EQ(bench.head, 115u);
}

TEST(an_impossible_limit_is_refused_and_the_old_one_stays) {
  Bench bench;
  volley_limiter limit{};
  limit.bytes = {.size = 1, .burst = 0, .refill_ms = 3'600'000};
  CHECK(bench.serial.set_limit(limit));
  limit.bytes.refill_ms = 0;
  CHECK(!bench.serial.set_limit(limit));
  bench.out(kData, 'x');
  bench.out(kData, 'x');
  CHECK_EQ(bench.head, 1u);
}

TEST(wide_access_touches_one_register) {
  Bench bench;
  const uint8_t word[4] = {'A', 'B', 'C', 'D'};
  bench.serial.write(kData, word);
  CHECK_EQ(bench.text(), "A");
  uint8_t read[2] = {0, 0};
  bench.serial.read(kLsr, read);
  CHECK_EQ(read[0], 0x60);
  CHECK_EQ(read[1], 0xff);
}

TEST(ring_wraps_and_head_keeps_counting) {
  Bench bench;
  const uint64_t total = VOLLEY_SERIAL_RING + 100;
  for (uint64_t i = 0; i < total; ++i) bench.out(kData, static_cast<uint8_t>(i % 251));
  CHECK_EQ(bench.head, total);
  bool right = true;
  for (uint64_t i = total - VOLLEY_SERIAL_RING; i < total; ++i) {
    right = right && bench.bytes[i % VOLLEY_SERIAL_RING] == static_cast<uint8_t>(i % 251);
  }
  CHECK(right);
}

TEST(ring_takes_a_run_across_its_end) {
  std::vector<uint8_t> bytes(VOLLEY_SERIAL_RING);
  uint64_t head = VOLLEY_SERIAL_RING - 2;
  SerialRing ring(bytes.data(), head);
  const uint8_t run[4] = {1, 2, 3, 4};
  ring.append(run);
  CHECK_EQ(head, static_cast<uint64_t>(VOLLEY_SERIAL_RING) + 2);
  CHECK_EQ(bytes[VOLLEY_SERIAL_RING - 1], 2);
  CHECK_EQ(bytes[0], 3);
  CHECK_EQ(bytes[1], 4);
}

}  // namespace
}  // namespace volley
