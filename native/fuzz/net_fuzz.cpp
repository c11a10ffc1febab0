// The network device, between a hostile guest and a tap that brings any frame and fails in every way.
#include <algorithm>
#include <cerrno>

#include "net/net_features.h"
#include "net/vnet_header.h"
#include "support/descriptors.h"
#include "support/fake_tap.h"
#include "support/virtio_bench.h"

namespace volley::fuzz {
namespace {

constexpr uint8_t kMac[6] = {2, 0, 0, 0, 0, 1};

class NetScript final : public DeviceScript {
 public:
  explicit NetScript(FakeTap& tap) : tap_(tap) {}

  std::vector<Piece> request(Script& script, VirtioBench& bench, uint32_t queue) override {
    if (queue == 0) {  // buffers for frames towards the guest
      std::vector<Piece> pieces;
      for (uint32_t count = 1 + script.choice(4); count != 0; --count) {
        const uint64_t at = bench.address(script);
        pieces.push_back({at, bench.length(script), true});
      }
      return pieces;
    }
    const uint8_t how = script.byte();
    FrameStart start{};
    start.header.flags = how & 1;
    constexpr uint8_t kTypes[] = {kVnetNoOffload, kVnetTcp4, kVnetTcp6, 3};
    start.header.gso_type = kTypes[how >> 1 & 3];
    if ((how & 8) != 0) {
      start.header.header_length = script.take<uint16_t>();
      start.header.gso_size = script.take<uint16_t>();
    }
    if ((how & 1) != 0) {
      start.header.checksum_start = script.take<uint16_t>();
      start.header.checksum_offset = script.byte();
    }
    std::copy(std::begin(kMac), std::end(kMac), start.source);
    if ((how & 16) != 0) start.source[5] = script.byte();
    // The start of the frame in one piece, or cut somewhere.
    const uint64_t at = bench.put(&start, sizeof(start));
    const uint32_t cut = (how & 32) != 0 ? script.byte() % sizeof(start) : 0;
    std::vector<Piece> pieces;
    if (cut != 0) pieces.push_back({at, cut, false});
    pieces.push_back({at + cut, static_cast<uint32_t>(sizeof(start)) - cut, false});
    for (uint32_t count = how >> 6; count != 0; --count) {
      const uint64_t body = bench.address(script);
      pieces.push_back({body, bench.length(script), false});
    }
    return pieces;
  }

  void host(Script& script, VirtioBench& bench) override {
    switch (script.choice(7)) {
      case 0:
      case 1: {  // a frame, of a size that counts and bytes that do not
        static uint8_t frame[70'000] = {};
        const auto bytes = script.take<uint16_t>();
        const auto content = script.bytes(16);
        std::copy(content.begin(), content.end(), frame);
        return tap_.send(frame, std::min<size_t>(bytes + size_t{content.size()}, sizeof(frame)));
      }
      case 2:
        return tap_.drain(script.byte());
      case 3: {
        constexpr int kErrors[] = {0, 0, EIO, EAGAIN, ENOBUFS, EBADFD, EINVAL};
        return tap_.fail_with(kErrors[script.choice(std::size(kErrors))]);
      }
      case 4:
        return tap_.refuse_offloads(script.flag());
      case 5:
        if (script.byte() > 200) tap_.remove();
        return;
      default:
        return bench.set_limit(script, 2);
    }
  }

 private:
  FakeTap& tap_;
};

}  // namespace

void run(Script& script) {
  const DescriptorScope descriptors(true);
  restart_time();
  const uint8_t how = script.byte();
  volley_device config{};
  config.type = VOLLEY_DEVICE_NET;
  std::copy(std::begin(kMac), std::end(kMac), config.mac);
  config.mtu = (how & 1) != 0 ? script.take<uint16_t>() : 0;
  if ((how & 2) != 0) config.limits[0].operations = {.size = 3, .burst = 1, .refill_ms = 10};
  if ((how & 4) != 0) config.limits[1].bytes = {.size = 4096, .burst = 0, .refill_ms = 10};
  FakeTap tap(kMac);
  InheritedFds fds;
  demand(fds.add(device_role(0), tap.fd()), "no room for descriptors");
  VirtioBench bench(VOLLEY_DEVICE_NET, config, fds);
  demand(bench.is_open(), "a tap that is as it should be was refused");
  NetScript frames(tap);
  bench.run(script, frames);
}
}  // namespace volley::fuzz
