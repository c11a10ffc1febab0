#include "machine/end_record.h"

#include <string>

#include "support/check.h"

namespace volley {
namespace {

TEST(the_first_end_is_kept) {
  WakeFd wake;
  REQUIRE(wake.create().is_ok());
  volley_stats stats{};
  EndRecord end(stats, wake);
  CHECK(!end.ended());
  end.guest_ended(VOLLEY_EXIT_REBOOT, "first");
  end.end(VOLLEY_EXIT_VMM_ERROR, 5, "second");
  CHECK(end.ended());
  CHECK_EQ(end.reason(), VOLLEY_EXIT_REBOOT);
  CHECK_EQ(stats.exit_reason, static_cast<uint32_t>(VOLLEY_EXIT_REBOOT));
  CHECK_EQ(stats.exit_detail, 0u);
  CHECK_EQ(std::string(stats.exit_message), "first");
}

TEST(long_sentences_are_cut) {
  WakeFd wake;
  REQUIRE(wake.create().is_ok());
  volley_stats stats{};
  EndRecord end(stats, wake);
  end.end(VOLLEY_EXIT_VMM_ERROR, 1, std::string(1000, 'x').c_str());
  CHECK_EQ(std::string(stats.exit_message).size(), static_cast<size_t>(VOLLEY_MESSAGE_MAX - 1));
}

TEST(a_failure_carries_its_errno) {
  WakeFd wake;
  REQUIRE(wake.create().is_ok());
  volley_stats stats{};
  EndRecord end(stats, wake);
  end.fail(Status::system_error(ENOMEM, "cannot do %s", "it"));
  CHECK_EQ(end.reason(), VOLLEY_EXIT_VMM_ERROR);
  CHECK_EQ(stats.exit_detail, static_cast<uint64_t>(ENOMEM));
  CHECK_CONTAINS(std::string(stats.exit_message), "cannot do it: Cannot allocate memory");
}

}  // namespace
}  // namespace volley
