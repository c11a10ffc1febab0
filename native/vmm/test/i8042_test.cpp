#include "devices/i8042.h"

#include <cerrno>
#include <vector>

#include "support/check.h"

namespace volley {
namespace {

class RecordingLine final : public InterruptLine {
 public:
  void set(bool new_level) override {
    if (new_level && !level) ++edges;
    level = new_level;
  }
  bool level = false;
  int edges = 0;
};

class RecordingSink final : public GuestEndSink {
 public:
  void guest_ended(volley_exit_reason new_reason, const char*) override { reason = new_reason; }
  volley_exit_reason reason = VOLLEY_EXIT_NONE;
};

struct Bench {
  RecordingSink sink;
  RecordingLine line;
  I8042 device{sink};

  Bench() { device.connect(line); }
  void command(uint8_t value) { device.command_port().write(0, {&value, 1}); }
  void data(uint8_t value) { device.data_port().write(0, {&value, 1}); }
  uint8_t status() {
    uint8_t value = 0;
    device.command_port().read(0, {&value, 1});
    return value;
  }
  // All that waits in the output buffer.
  std::vector<uint8_t> answers() {
    std::vector<uint8_t> all;
    while ((status() & 1) != 0) {
      uint8_t value = 0;
      device.data_port().read(0, {&value, 1});
      all.push_back(value);
    }
    return all;
  }
  // As a driver sets the controller up: keyboard interrupt on.
  void set_command_byte(uint8_t value) {
    command(0x60);
    data(value);
  }
};

using Bytes = std::vector<uint8_t>;

TEST(resets_on_fe_and_on_the_reset_line) {
  Bench pulse;
  pulse.command(0xfe);
  CHECK_EQ(pulse.sink.reason, VOLLEY_EXIT_REBOOT);
  Bench line;
  line.command(0xd1);
  CHECK_EQ(line.sink.reason, VOLLEY_EXIT_NONE);
  line.data(0x03);
  CHECK_EQ(line.sink.reason, VOLLEY_EXIT_NONE);
  line.command(0xd1);
  line.data(0x02);
  CHECK_EQ(line.sink.reason, VOLLEY_EXIT_REBOOT);
}

TEST(input_buffer_is_never_full) {
  Bench bench;
  CHECK_EQ(bench.status() & 0x03, 0);
  bench.command(0xd1);
  CHECK_EQ(bench.status() & 0x02, 0);
}

TEST(passes_its_tests) {
  Bench bench;
  bench.command(0xaa);
  CHECK(bench.answers() == Bytes{0x55});
  CHECK_EQ(bench.status() & 0x04, 0x04);
  bench.command(0xab);
  CHECK(bench.answers() == Bytes{0x00});
}

TEST(says_at_once_that_there_is_no_mouse) {
  Bench bench;
  bench.command(0xd3);  // the loop test that drivers begin with
  bench.data(0x5a);
  const Bytes loop = bench.answers();
  CHECK(loop.size() == 1 && loop[0] != 0x5a);
  bench.command(0xa9);
  CHECK(bench.answers() == Bytes{0x01});
  bench.command(0xa8);
  bench.command(0x20);
  CHECK_EQ(bench.answers().at(0) & 0x20, 0x20);
}

TEST(command_byte_is_kept) {
  Bench bench;
  bench.set_command_byte(0x45);
  bench.command(0x20);
  CHECK(bench.answers() == Bytes{0x65});
  bench.command(0xad);
  bench.command(0x20);
  CHECK(bench.answers() == Bytes{0x75});
  bench.command(0xae);
  bench.command(0x20);
  CHECK(bench.answers() == Bytes{0x65});
}

TEST(keyboard_says_what_it_is) {
  Bench bench;
  bench.data(0xf2);
  CHECK(bench.answers() == (Bytes{0xfa, 0xab, 0x83}));
  bench.data(0xff);
  CHECK(bench.answers() == (Bytes{0xfa, 0xaa}));
  bench.data(0xed);  // lamps, with a parameter that must not be taken for a command
  bench.data(0xf2);
  CHECK(bench.answers() == (Bytes{0xfa, 0xfa}));
  bench.data(0xf0);
  bench.data(0x00);
  CHECK(bench.answers() == (Bytes{0xfa, 0xfa, 0x02}));
  bench.data(0xee);
  CHECK(bench.answers() == Bytes{0xee});
}

TEST(keys_are_typed_for_a_driver_that_listens) {
  Bench bench;
  CHECK_EQ(bench.device.press_ctrl_alt_del(), EAGAIN);
  bench.set_command_byte(0x01);
  CHECK_EQ(bench.device.press_ctrl_alt_del(), 0);
  CHECK(bench.line.level);
  CHECK(bench.answers() == (Bytes{0x14, 0x11, 0xe0, 0x71, 0xe0, 0xf0, 0x71, 0xf0, 0x11, 0xf0, 0x14}));
  CHECK_EQ(bench.line.edges, 11);  // one for each byte: the line is edge triggered
  CHECK(!bench.line.level);
  bench.data(0xf5);
  bench.answers();
  CHECK_EQ(bench.device.press_ctrl_alt_del(), EAGAIN);
  bench.data(0xf4);
  bench.answers();
  CHECK_EQ(bench.device.press_ctrl_alt_del(), 0);
}

TEST(keys_are_translated_when_the_controller_was_told_to) {
  Bench bench;
  bench.set_command_byte(0x41);
  CHECK_EQ(bench.device.press_ctrl_alt_del(), 0);
  CHECK(bench.answers() == (Bytes{0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d}));
}

TEST(keys_nobody_reads_do_not_pile_up) {
  Bench bench;
  bench.set_command_byte(0x01);
  CHECK_EQ(bench.device.press_ctrl_alt_del(), 0);
  CHECK_EQ(bench.device.press_ctrl_alt_del(), EAGAIN);
  CHECK_EQ(bench.answers().size(), 11u);
}

TEST(a_flood_of_commands_stays_inside_the_buffer) {
  Bench bench;
  for (int i = 0; i < 1000; ++i) bench.data(0xf2);
  CHECK_EQ(bench.answers().size(), 16u);
  for (unsigned value = 0; value < 0x400; ++value) {
    if ((value & 0xff) == 0xfe) continue;
    bench.command(static_cast<uint8_t>(value));
    bench.data(static_cast<uint8_t>(value * 7) | 1);
  }
  CHECK(bench.answers().size() <= 16);
  CHECK_EQ(bench.sink.reason, VOLLEY_EXIT_NONE);
}

}  // namespace
}  // namespace volley
