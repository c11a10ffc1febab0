#include "cmdline.h"

#include <string>

#include "vmm/test/support/check.h"

namespace canary {
namespace {

Orders parsed(const char* cmdline) {
  Orders orders;
  CHECK_EQ(parse_cmdline(cmdline, &orders).length, 0u);
  return orders;
}

std::string refused(const char* cmdline) {
  Orders orders;
  const BadWord bad = parse_cmdline(cmdline, &orders);
  return std::string(bad.text == nullptr ? "" : bad.text, bad.length);
}

TEST(nothing_means_idle) {
  for (const char* cmdline : {"", "   ", "idle", " idle \n", "idle pci=off"}) {
    const Orders orders = parsed(cmdline);
    CHECK_EQ(orders.touch_mib, 0u);
    CHECK_EQ(orders.burn_percent, 0u);
    CHECK(orders.end == End::kNone);
  }
}

TEST(every_word_is_understood) {
  const Orders orders = parsed("touch=64 burn=25 print=3 exit=panic after=1500 nostop quiet");
  CHECK_EQ(orders.touch_mib, 64u);
  CHECK_EQ(orders.burn_percent, 25u);
  CHECK_EQ(orders.print_lines, 3u);
  CHECK_EQ(orders.period_ms, 20u);
  CHECK_EQ(orders.grow_every_ms, 0u);
  CHECK(orders.end == End::kPanic);
  CHECK_EQ(orders.end_after_ms, 1500u);
  CHECK(orders.no_stop);
  CHECK(orders.quiet);
}

TEST(bursts_and_growth_are_understood) {
  const Orders orders = parsed("burn=20 every=2000 touch=8 grow=50");
  CHECK_EQ(orders.burn_percent, 20u);
  CHECK_EQ(orders.period_ms, 2000u);
  CHECK_EQ(orders.touch_mib, 8u);
  CHECK_EQ(orders.grow_every_ms, 50u);
}

TEST(every_end_is_understood) {
  CHECK(parsed("exit=poweroff").end == End::kPowerOff);
  CHECK(parsed("exit=reboot").end == End::kReboot);
  CHECK(parsed("exit=triplefault").end == End::kTripleFault);
  CHECK(parsed("exit=hang").end == End::kHang);
}

TEST(the_last_word_wins) { CHECK_EQ(parsed("touch=1 touch=2").touch_mib, 2u); }

TEST(bad_words_are_returned_whole) {
  for (const char* bad :
       {"bogus", "idl", "idlex", "touch", "touch=", "touch=1x", "touch=-1", "burn=101", "burn=a", "every=0", "grow=0",
        "grow=x", "exit=", "exit=panics", "exit=pani", "after=99999999999999999999", "=", "quiet=1"}) {
    CHECK_EQ(refused(bad), bad);
    CHECK_EQ(refused((std::string("touch=1 ") + bad + " idle").c_str()), bad);
  }
}

}  // namespace
}  // namespace canary

int main(int argc, char** argv) { return check::run(argc, argv); }
