#include "users.h"

#include "vmm/test/support/check.h"

namespace volley {
namespace {

constexpr char kPasswd[] =
    "root:x:0:0:root:/root:/bin/sh\n"
    "broken line\n"
    "app:x:1000:1001:App:/home/app:/bin/sh\n"
    "bare:x:1002:1002:\n"
    "homeless:x:1003:1003:::\n";
constexpr char kGroup[] =
    "root:x:0:\n"
    "staff:x:50:app,other\n"
    "app:x:1001:app\n"
    "audio:x:29:other,app\n";

Credentials found(std::string_view user) {
  Credentials credentials;
  std::string problem;
  CHECK(find_user(user, kPasswd, kGroup, credentials, problem));
  return credentials;
}

std::string refused(std::string_view user) {
  Credentials credentials;
  std::string problem;
  CHECK(!find_user(user, kPasswd, kGroup, credentials, problem));
  return problem;
}

TEST(nobody_named_is_root) {
  CHECK_EQ(found("").uid, 0u);
  CHECK_EQ(found("").home, "/root");
}

TEST(a_name_brings_its_groups_and_home) {
  const Credentials user = found("app");
  CHECK_EQ(user.uid, 1000u);
  CHECK_EQ(user.gid, 1001u);
  REQUIRE(user.groups.size() == 2);
  CHECK_EQ(user.groups[0], 50u);
  CHECK_EQ(user.groups[1], 29u);
  CHECK_EQ(user.home, "/home/app");
}

TEST(a_number_need_not_be_listed) {
  const Credentials listed = found("1000");
  CHECK_EQ(listed.gid, 1001u);
  CHECK_EQ(listed.groups.size(), 2u);
  const Credentials stranger = found("4242");
  CHECK_EQ(stranger.uid, 4242u);
  CHECK_EQ(stranger.gid, 0u);
  CHECK_EQ(stranger.home, "/");
}

TEST(a_named_group_stands_alone) {
  CHECK_EQ(found("app:staff").gid, 50u);
  CHECK_EQ(found("app:staff").groups.size(), 0u);
  CHECK_EQ(found("1:7").gid, 7u);
  CHECK_EQ(found(":staff").uid, 0u);
}

TEST(a_user_without_home_lives_in_the_root) { CHECK_EQ(found("homeless").home, "/"); }

TEST(who_is_not_there_is_refused) {
  CHECK_CONTAINS(refused("nobody"), "no user \"nobody\"");
  CHECK_CONTAINS(refused("bare"), "no user");
  CHECK_CONTAINS(refused("app:wheel"), "no group \"wheel\"");
}

TEST(image_without_files) {
  Credentials user;
  std::string problem;
  CHECK(find_user("1000:1000", "", "", user, problem));
  CHECK(find_user("", "", "", user, problem));
  CHECK_EQ(user.home, "/");
}

}  // namespace
}  // namespace volley
