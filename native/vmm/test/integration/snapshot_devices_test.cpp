// Snapshots of microVMs whose devices are in use.
#include <sys/socket.h>
#include <unistd.h>

#include "support/check.h"
#include "support/device_microvm.h"
#include "support/host_socket.h"
#include "support/snapshot_files.h"
#include "support/tap_network.h"

namespace volley::test {
namespace {

// What stands behind " KEY=" in a line, up to the next blank.
std::string word_in(const std::string& line, const std::string& key) {
  const size_t at = line.find(" " + key + "=");
  if (at == std::string::npos) return {};
  const size_t start = at + key.size() + 2;
  return line.substr(start, line.find(' ', start) - start);
}

TEST(devices_go_on_in_clones_with_an_identity_of_their_own) {
  const TemporaryFile disk(1 << 20);
  SnapshotFiles files;
  std::string first_random;
  {
    const HostSocket host;
    DeviceMicrovm microvm;
    microvm.disk(disk);
    microvm.vsock(host.listener());
    microvm.balloon(VOLLEY_BALLOON_STATISTICS | VOLLEY_BALLOON_REPORTING, 0, 50);
    microvm.rng();
    microvm.start(
        "rng=16 balloon listen=1024 write=0,0,64,7 wait=1500 verify=0,0,64,7 write=0,64,64,8 verify=0,64,64,8");
    CHECK_CONTAINS(microvm.result("write", 0), "ok");
    first_random = word_in(microvm.result("rng"), "first");
    const UniqueFd socket = host.connect("CONNECT 1024\n");
    CHECK_CONTAINS(read_line(socket.get()), "OK ");
    const auto reply = files.take(microvm.vmm());
    REQUIRE(reply.has_value());
    CHECK_EQ(std::string(reply->status == 0 ? "" : reply->payload.text), std::string());
    // The original's connection outlives the snapshot.
    CHECK_EQ(send(socket.get(), "hello", 5, MSG_NOSIGNAL), 5);
    CHECK_EQ(read_bytes(socket.get(), 5), "hello");
    CHECK_CONTAINS(microvm.result("verify", 0), "ok kib=64");
    microvm.stop();
  }
  std::string randoms[2];
  std::string generations[2];
  for (int i = 0; i < 2; ++i) {
    const HostSocket host;
    DeviceMicrovm clone;
    clone.disk(disk);
    const uint32_t vsock = clone.vsock(host.listener());
    clone.device(vsock).guest_cid = static_cast<uint32_t>(40 + i);
    clone.balloon(VOLLEY_BALLOON_STATISTICS | VOLLEY_BALLOON_REPORTING, 0, 50);
    clone.rng();
    clone.restore(files);
    CHECK(clone.vmm().await_booted());
    generations[i] = clone.await_line("generation ");
    randoms[i] = word_in(clone.result("rng"), "first");
    CHECK_CONTAINS(clone.await_line("vsock 0 ok reset=1"), "cid=" + std::to_string(40 + i));
    const UniqueFd socket = host.connect("CONNECT 1024\n");
    CHECK_CONTAINS(read_line(socket.get()), "OK ");
    CHECK_EQ(send(socket.get(), "again", 5, MSG_NOSIGNAL), 5);
    CHECK_EQ(read_bytes(socket.get(), 5), "again");
    volley_message message{};
    message.type = VOLLEY_CMD_SET_BALLOON;
    message.payload.bytes = 1 << 20;
    const auto set = clone.vmm().request(message);
    CHECK(set.has_value() && set->status == 0);
    CHECK_CONTAINS(clone.await_line("balloon 0 ok pages=256"), "256");
    // What was waited for when the snapshot was taken.
    CHECK_CONTAINS(clone.result("verify", 0), "ok kib=64");
    CHECK(clone.vmm().await_page([&](const volley_stats& stats) { return stats.balloon.updated_ns != 0; }));
    clone.stop();
  }
  CHECK(!randoms[0].empty() && randoms[0] != randoms[1]);
  CHECK(randoms[0] != first_random && randoms[1] != first_random);
  CHECK(generations[0] != generations[1]);
}

TEST(a_network_goes_on_with_another_address) {
  const std::unique_ptr<TapNetwork> network = TapNetwork::make();
  if (!network) return;
  SnapshotFiles files;
  {
    DeviceMicrovm microvm;
    microvm.net(network->tap());
    microvm.start("net=10.77.0.2/24,10.77.0.1");
    CHECK_CONTAINS(microvm.result("net"), "ok mac=02:56:4c:00:00:01");
    CHECK(TapNetwork::ping("10.77.0.2", 1400));
    REQUIRE(files.take(microvm.vmm())->status == 0);
    CHECK(TapNetwork::ping("10.77.0.2", 1400));
    microvm.stop();
  }
  DeviceMicrovm clone;
  const uint32_t net = clone.net(network->tap());
  clone.device(net).mac[5] = 0x99;
  clone.restore(files);
  CHECK_CONTAINS(clone.await_line("net 0 ok mac="), "02:56:4c:00:00:99");
  for (int i = 0; i < 20; ++i) CHECK(TapNetwork::ping("10.77.0.2", 1400));
  CHECK_EQ(clone.stats(net).errors, 0u);
  clone.stop();
}

TEST(other_devices_than_the_snapshots_are_refused) {
  const TemporaryFile disk(1 << 20);
  const TemporaryFile larger(2 << 20);
  SnapshotFiles files;
  {
    DeviceMicrovm microvm;
    microvm.disk(disk);
    microvm.rng();
    microvm.start("rng=16 id=0");
    CHECK_CONTAINS(microvm.result("id"), "ok");
    REQUIRE(files.take(microvm.vmm())->status == 0);
    microvm.stop();
  }
  const auto refused = [&](const std::string& reason, const std::function<void(DeviceMicrovm&)>& devices) {
    DeviceMicrovm clone;
    devices(clone);
    clone.restore(files);
    const std::optional<ProcessEnd> end = clone.vmm().await_end();
    REQUIRE(end.has_value());
    CHECK(end->exited && end->code == 1);
    CHECK_CONTAINS(clone.vmm().stats().exit_message, reason);
  };
  refused("number of devices", [&](DeviceMicrovm& clone) { clone.disk(disk); });
  refused("is of type 1, the one given for it of type 5", [&](DeviceMicrovm& clone) {
    clone.rng();
    clone.disk(disk);
  });
  refused("is a disk of 1048576 bytes", [&](DeviceMicrovm& clone) {
    clone.disk(larger);
    clone.rng();
  });
  refused("has flags 0", [&](DeviceMicrovm& clone) {
    clone.disk(disk, VOLLEY_BLOCK_READ_ONLY);
    clone.rng();
  });
}

}  // namespace
}  // namespace volley::test
