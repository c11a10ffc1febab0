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
  RecordingLine line;
  Serial serial{SerialRing(bytes.data(), head), line};

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
