// Hostile guests: whatever a canary does to its devices, the VMM survives it, answers, and ends when it is told to; and
// the devices work again for a driver that keeps to the rules.
#include <sys/socket.h>
#include <sys/un.h>

#include <memory>

#include "support/check.h"
#include "support/device_microvm.h"
#include "support/tap_network.h"

namespace volley::test {
namespace {

constexpr const char* kAttacks[] = {"descriptors", "indirect", "rings",   "random", "race",  "kicks", "acks",
                                    "resets",      "config",   "resetup", "mmio",   "ports", "serial"};

UniqueFd listen_anywhere() {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address.sun_family));
  listen(socket.get(), 4);
  return socket;
}

// One microVM with every kind of device.
struct Target {
  std::unique_ptr<TapNetwork> network = TapNetwork::make();
  TemporaryFile disk{1 << 20};
  TemporaryFile read_only{1 << 20};
  UniqueFd listener = listen_anywhere();
  DeviceMicrovm microvm;

  Target() {
    microvm.disk(disk);
    microvm.disk(read_only, VOLLEY_BLOCK_READ_ONLY);
    microvm.rng();
    microvm.balloon(VOLLEY_BALLOON_REPORTING | VOLLEY_BALLOON_STATISTICS, 0, 20);
    microvm.vsock(listener.get());
    if (network) microvm.net(network->tap());
  }
};

void check_survives(const std::string& attack, unsigned seed) {
  Target target;
  DeviceMicrovm& microvm = target.microvm;
  microvm.start("attack=" + attack + ",seed=" + std::to_string(seed) +
                " rng=64 write=0,0,64,3 verify=0,0,64,3 zeros=1,0,64 listen=5" +
                (target.network ? " net=10.77.0.2/24 ping=10.77.0.1" : ""));
  // While it goes on the agent is heard.
  if (microvm.vmm().await_booted()) CHECK_EQ(microvm.vmm().command(VOLLEY_CMD_PING), 0);
  const std::string done = microvm.await_line("attack " + std::to_string(seed) + " ok", 240'000);
  if (done.empty()) {
    check::report(__FILE__, __LINE__, "attack=" + attack + " seed " + std::to_string(seed) + " did not end");
    return;
  }
  CHECK_CONTAINS(microvm.result("rng"), "ok");
  CHECK_CONTAINS(microvm.result("verify"), "ok");
  CHECK_CONTAINS(microvm.result("zeros", 1), "ok");
  if (target.network) CHECK_CONTAINS(microvm.result("ping"), "ok");
  CHECK_CONTAINS(microvm.result("vsock"), "ok");
  CHECK_EQ(microvm.vmm().command(VOLLEY_CMD_PAUSE), 0);
  CHECK_EQ(microvm.vmm().command(VOLLEY_CMD_RESUME), 0);
  microvm.stop();
}

TEST(every_attack_is_survived) {
  for (const char* attack : kAttacks) {
    fprintf(stderr, "attack=%s\n", attack);
    check_survives(attack, 1);
  }
}

TEST(random_attacks_are_survived) {
  for (unsigned seed = 2; seed < 8; ++seed) check_survives("random", seed);
  for (unsigned seed = 2; seed < 5; ++seed) check_survives("race", seed);
}

TEST(all_attacks_in_a_row_are_survived) { check_survives("all", 11); }

// What a driver must not do is not done, and counted: the device asks for a reset.
TEST(broken_chains_are_refused_not_guessed_at) {
  DeviceMicrovm microvm;
  const uint32_t rng = microvm.rng();
  microvm.start("attack=descriptors,seed=1 attack=indirect,seed=2");
  // Ten cases, one of which happens to be right with this seed.
  CHECK_EQ(number_in(microvm.await_line("attack 1 ok"), "broken").value_or(0), 9u);
  CHECK_EQ(number_in(microvm.await_line("attack 2 ok"), "broken").value_or(0), 8u);
  CHECK(microvm.stats(rng).errors >= 16);
  microvm.stop();
}

// The agent's words get through while the guest does its worst.
TEST(an_attacking_guest_can_be_paused_and_ended) {
  Target target;
  target.microvm.start("attack=all,seed=5 attack=all,seed=6 attack=all,seed=7");
  REQUIRE(target.microvm.vmm().await_booted());
  for (int i = 0; i < 10; ++i) {
    CHECK_EQ(target.microvm.vmm().command(VOLLEY_CMD_PAUSE), 0);
    CHECK_EQ(target.microvm.vmm().command(VOLLEY_CMD_RESUME), 0);
    usleep(20'000);
  }
  target.microvm.vmm().send(VOLLEY_CMD_QUIT, 99);
  const std::optional<ProcessEnd> end = target.microvm.vmm().await_end();
  CHECK(end.has_value() && end->exited && end->code == 0);
  CHECK_EQ(target.microvm.vmm().stats().exit_reason, static_cast<uint32_t>(VOLLEY_EXIT_REQUESTED));
}

}  // namespace
}  // namespace volley::test
