#include "boot/names.h"

#include "vmm/test/support/check.h"

namespace volley {
namespace {

TEST(hosts_names_the_guest_by_its_address) {
  Config config;
  CHECK(hosts_text(config).find("127.0.1.1") == std::string::npos);
  config.hostname = "one";
  CHECK_CONTAINS(hosts_text(config), "127.0.1.1\tone\n");
  config.interfaces.push_back({{}, 0x0a000002, 31, 0, 0});
  CHECK_CONTAINS(hosts_text(config), "10.0.0.2\tone\n");
  CHECK_CONTAINS(hosts_text(config), "127.0.0.1\tlocalhost\n");
}

TEST(resolver_lists_the_servers_in_order) {
  Config config;
  config.dns = {"192.0.2.1", "192.0.2.2"};
  CHECK_CONTAINS(resolver_text(config), "nameserver 192.0.2.1\nnameserver 192.0.2.2\n");
}

}  // namespace
}  // namespace volley
