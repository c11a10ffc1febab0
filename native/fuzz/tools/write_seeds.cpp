// Writes the committed seeds: `fuzz-seeds FOLDER`, native/fuzz/seeds as a rule. A seed is what somebody might do who
// keeps to the rules, as a script that the fuzzer of that name reads; from there on libFuzzer breaks them.
#include <elf.h>
#include <linux/virtio_blk.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <vector>

#include "abi/volley_abi.h"
#include "abi/volley_guest.h"
#include "machine/snapshot_parts.h"
#include "snapshot/vcpu_state.h"
#include "support/virtio_script.h"
#include "vmm/test/support/sample_kernels.h"

namespace volley::fuzz {
namespace {

class Seed {
 public:
  template <typename T>
  Seed& put(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto* const raw = reinterpret_cast<const uint8_t*>(&value);
    bytes_.insert(bytes_.end(), raw, raw + sizeof(value));
    return *this;
  }
  Seed& byte(unsigned value) { return put(static_cast<uint8_t>(value)); }
  Seed& half(unsigned value) { return put(static_cast<uint16_t>(value)); }
  Seed& text(const std::string& text) {
    bytes_.insert(bytes_.end(), text.begin(), text.end());
    return *this;
  }
  Seed& bytes(const std::vector<uint8_t>& more) {
    bytes_.insert(bytes_.end(), more.begin(), more.end());
    return *this;
  }

  // Steps of VirtioBench.
  Seed& step(Step step) { return put(step); }
  // All features but `refused`; queues of 2^sizes.
  Seed& bring_up(unsigned queues, uint64_t refused = 0) {
    step(Step::kBringUp).put(refused).byte(0);
    for (unsigned i = 0; i < queues; ++i) byte(8);
    return *this;
  }
  Seed& buffer(unsigned at, unsigned sectors) {
    return put(Place::kBuffers).half(at).put(Length::kSectors).byte(sectors);
  }
  Seed& request(unsigned queue, bool indirect = false) {
    return step(Step::kRequest).byte(queue | (indirect ? 0x80u : 0u));
  }
  Seed& flood(unsigned queue, unsigned times) { return step(Step::kFlood).byte(queue).byte(times); }
  Seed& kick(unsigned queue) { return step(Step::kKick).byte(queue); }
  Seed& turn() { return step(Step::kTurn).byte(3); }
  Seed& time(unsigned tenths_of_ms) { return step(Step::kTime).half(tenths_of_ms); }
  // Before load `loads` of guest memory what is about to be read becomes `value`.
  Seed& race(unsigned loads, uint32_t value) {
    return step(Step::kRace).byte(loads).byte(1 | 2 << 1).byte(8).put(value);
  }

  void save(const std::string& target, const std::string& name) const {
    const std::filesystem::path folder = std::filesystem::path(root) / target;
    std::filesystem::create_directories(folder);
    std::ofstream file(folder / name, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes_.data()), static_cast<std::streamsize>(bytes_.size()));
  }

  static inline std::string root;

 private:
  std::vector<uint8_t> bytes_;
};

constexpr uint64_t kEventIndex = 1ull << 29;

// A disk's requests; `what` as BlockScript numbers them.
enum BlockRequest : unsigned { kRead, kWrite, kFlush, kIdentify, kDiscard, kWriteZeroes };

void block_request(Seed& seed, BlockRequest what, unsigned sector, bool indirect) {
  seed.request(0, indirect).byte(what).half(sector);
  if (what == kDiscard || what == kWriteZeroes) {
    seed.byte(0).half(sector).half(8).byte(what == kWriteZeroes ? 1 : 0);
  } else if (what != kFlush) {
    seed.buffer(0x1000, 8);
  }
  seed.kick(0);
}

void disks() {
  for (const std::string target : {"block", "overlay"}) {
    for (const bool indirect : {false, true}) {
      Seed all;
      all.byte(0).bring_up(1, indirect ? 0 : kEventIndex);
      for (const BlockRequest what : {kWrite, kRead, kFlush, kIdentify, kDiscard, kWriteZeroes, kRead}) {
        block_request(all, what, 8, indirect);
      }
      all.save(target, indirect ? "every-request-indirect" : "every-request");
    }
    Seed races;
    races.byte(0).bring_up(1);
    for (unsigned loads = 0; loads < 12; ++loads) {
      races.race(loads, 0xffffffff);
      block_request(races, loads % 2 == 0 ? kWrite : kWriteZeroes, loads, true);
    }
    races.save(target, "races");
    Seed fails;
    fails.byte(0).bring_up(1);
    block_request(fails, kWrite, 0, false);
    fails.step(Step::kHost).byte(0).byte(0).byte(2);
    block_request(fails, kFlush, 0, false);
    fails.step(Step::kReset).bring_up(1, 1u << VIRTIO_BLK_F_FLUSH);
    block_request(fails, kWrite, 100, false);
    fails.save(target, "failing-disk");
    Seed limited;
    limited.byte(target == "block" ? 12 : 1).bring_up(1);
    for (unsigned i = 0; i < 6; ++i) block_request(limited, kRead, i, false);
    limited.time(1000).turn().save(target, "limited");
  }
  Seed read_only;
  read_only.byte(2).bring_up(1);
  block_request(read_only, kWrite, 0, false);
  block_request(read_only, kRead, 0, false);
  read_only.save("block", "read-only");
  Seed flood;
  flood.byte(0).bring_up(1).flood(0x80, 100).byte(kWrite).half(8).buffer(0, 1).turn().save("block", "flood");
  Seed crossing;
  crossing.byte(0).bring_up(1);
  for (const unsigned sector : {120u, 127u, 128u, 380u, 384u, 391u, 640u}) {
    block_request(crossing, kWrite, sector, false);
    block_request(crossing, kRead, sector, false);
  }
  block_request(crossing, kFlush, 0, false);
  crossing.save("overlay", "across-clusters-and-the-base");

  Seed untouched;
  untouched.byte(1).byte(0).byte(0);
  for (unsigned i = 0; i < 5; ++i) untouched.byte(i).put(uint32_t{i * 100});
  untouched.save("overlay_file", "new");
  Seed bits;  // the first copy of the first block: sequence 1, cluster 0 and 2
  bits.byte(1).byte(2).half(4096).byte(8).put(uint64_t{1}).half(4096 + 16).byte(1).byte(5).byte(2);
  for (unsigned i = 0; i < 5; ++i) bits.byte(i).put(uint32_t{i * 100});
  bits.save("overlay_file", "first-copy-only");
  Seed both;
  both.byte(2).byte(2).half(4096).byte(8).put(uint64_t{2}).half(8192).byte(8).put(uint64_t{3}).byte(2 | 4);
  for (unsigned i = 0; i < 5; ++i) both.byte(i).put(uint32_t{i * 1000});
  both.save("overlay_file", "both-copies");
  Seed shortened;
  shortened.byte(0).byte(0).byte(32).put(uint32_t{5000});
  shortened.save("overlay_file", "short");
  Seed blank;  // as a power failure leaves it: the header is all zeros
  blank.byte(0)
      .byte(2)
      .half(0)
      .byte(31)
      .bytes(std::vector<uint8_t>(31))
      .half(31)
      .byte(17)
      .bytes(std::vector<uint8_t>(17));
  blank.byte(0).byte(0).put(uint32_t{0}).save("overlay_file", "header-never-written");
}

Seed& frame_buffers(Seed& seed, unsigned count, unsigned sectors) {
  for (unsigned i = 0; i < count; ++i) seed.request(0).byte(0).buffer(i * 0x1000, sectors);
  return seed.kick(0);
}

Seed& frame_from_host(Seed& seed, unsigned bytes) {
  return seed.step(Step::kHost).byte(0).half(bytes).bytes(std::vector<uint8_t>(16));
}

void net() {
  for (const bool merged : {false, true}) {
    Seed seed;
    seed.byte(0).bring_up(2, merged ? 0 : 1u << 15);
    frame_buffers(seed, 6, merged ? 1 : 4);
    for (const unsigned bytes : {60u, 1500u, 1514u, 9000u}) frame_from_host(seed, bytes).turn();
    frame_buffers(seed, 8, 8);
    for (unsigned how : {0u, 64u, 128u + 32u}) {
      seed.request(1).byte(how);
      if ((how & 32) != 0) seed.byte(5);
      for (unsigned i = 0; i < how >> 6; ++i) seed.buffer(0x2000, 2);
      seed.kick(1);
    }
    seed.save("net", merged ? "both-ways-merged" : "both-ways");
  }
  Seed flood;
  flood.byte(0).bring_up(2).flood(1, 200).byte(0).turn().flood(0, 250).byte(0).buffer(0, 4);
  for (unsigned i = 0; i < 140; ++i) frame_from_host(flood, 60);
  flood.turn().turn().save("net", "flood");
  Seed offload;
  offload.byte(1).half(9000).bring_up(2);
  offload.request(1).byte(1 | 1 << 1 | 8 | 64).half(54).half(1460).half(34).byte(16).buffer(0, 100).kick(1);
  offload.save("net", "segmentation");
  Seed blocked;
  blocked.byte(0).bring_up(2).step(Step::kHost).byte(3).byte(3);
  blocked.request(1).byte(0).kick(1).step(Step::kHost).byte(3).byte(0).turn();
  blocked.step(Step::kHost).byte(5).byte(255).turn().request(1).byte(0).kick(1).save("net", "tap-goes-away");
  Seed limited;
  limited.byte(2 | 4).bring_up(2);
  frame_buffers(limited, 6, 4);
  for (unsigned i = 0; i < 6; ++i) frame_from_host(limited, 600).request(1).byte(0).kick(1);
  limited.time(500).turn().time(500).turn().save("net", "limited");
}

Seed& packet(Seed& seed, unsigned op, unsigned guest_port, unsigned host_port, bool from_host = false) {
  return seed.request(1).byte(op - 1).byte(guest_port | host_port << 2 | (from_host ? 128u : 0u));
}

void vsock() {
  const auto buffers = [](Seed& seed, unsigned count) {
    for (unsigned i = 0; i < count; ++i) seed.request(0).buffer(i * 0x400, 2);
    seed.kick(0);
  };
  Seed guest;  // asks, is answered with a socket, sends, receives, ends
  guest.bring_up(3);
  buffers(guest, 8);
  packet(guest, 1, 1, 2).kick(1).step(Step::kHost).byte(0).byte(2).byte(0).turn();
  packet(guest, 5, 1, 2).buffer(0x4000, 1).kick(1);
  guest.step(Step::kHost).byte(0).byte(4).byte(5).text("hello").turn();
  guest.step(Step::kHost).byte(0).byte(6).half(512);
  packet(guest, 4, 1, 2).byte(3).kick(1).turn().save("vsock", "from-the-guest");
  Seed host;
  host.bring_up(3);
  buffers(host, 8);
  host.step(Step::kHost).byte(1).byte(0).byte(1 | 1 << 1).turn();
  packet(host, 2, 1, 0, true).kick(1);
  host.step(Step::kHost).byte(1).byte(5).half(3000).turn();
  packet(host, 5, 1, 0, true).buffer(0x4000, 4).kick(1);
  packet(host, 7, 1, 0, true).kick(1);
  packet(host, 6, 1, 0, true).kick(1);
  host.step(Step::kHost).byte(1).byte(7).byte(1).turn().step(Step::kHost).byte(1).byte(8).turn();
  packet(host, 3, 1, 0, true).kick(1).save("vsock", "from-the-host");
  Seed flood;  // of data for nobody: refusals wait until the guest takes them
  flood.bring_up(3).flood(1, 200).byte(4).byte(1 | 2 << 2).buffer(0, 1).turn();
  flood.flood(0, 200).buffer(0, 2).turn().save("vsock", "flood");
  Seed hosts;  // more than are taken in one turn, while there are no descriptors, and after
  hosts.bring_up(3).step(Step::kHost).byte(0).byte(9).byte(6);
  for (unsigned i = 0; i < 20; ++i) hosts.step(Step::kHost).byte(i % 8).byte(0).byte(1 | 1 << 1);
  hosts.turn().time(2000).turn().step(Step::kHost).byte(0).byte(9).byte(252).turn().save("vsock", "many-hosts");
  Seed refused;
  refused.bring_up(3);
  buffers(refused, 4);
  packet(refused, 1, 1, 2).kick(1).step(Step::kHost).byte(0).byte(2).byte(1 << 1).turn();
  packet(refused, 1, 2, 2).kick(1).step(Step::kHost).byte(0).byte(2).byte(2 << 1 | 1 << 3).turn();
  packet(refused, 5, 3, 3).buffer(0, 1).kick(1).time(30'000).turn().save("vsock", "refused");
  Seed slow;  // the host takes nothing: what the guest sends waits, up to its credit
  slow.bring_up(3);
  buffers(slow, 8);
  packet(slow, 1, 1, 2).kick(1).step(Step::kHost).byte(0).byte(2).byte(0).turn();
  for (unsigned i = 0; i < 5; ++i) packet(slow, 5, 1, 2).buffer(0, 100).kick(1);
  for (unsigned i = 0; i < 8; ++i) slow.step(Step::kHost).byte(0).byte(6).half(65535).turn();
  packet(slow, 4, 1, 2).byte(3).kick(1).time(65'000).turn().save("vsock", "slow-host");
}

void balloon_and_rng() {
  Seed balloon;
  balloon.byte(7 | 2 << 3).bring_up(4);
  balloon.request(0).byte(0).byte(9);
  for (unsigned i = 0; i < 10; ++i) balloon.byte(1);
  balloon.kick(0).request(1).byte(0).byte(0).byte(1).kick(1);
  balloon.request(2).byte(128).byte(12);
  for (unsigned i = 0; i < 12; ++i) balloon.half(i);
  balloon.kick(2);
  balloon.time(1000).turn().time(1000).turn();
  balloon.request(3).byte(3).put(Place::kBuffers).half(0x4000).put(Length::kSectors).byte(64).kick(3);
  balloon.step(Step::kHost).byte(1).byte(0).half(100).turn().save("balloon", "all-queues");
  Seed balloons;
  balloons.byte(0).bring_up(2).flood(0, 100).byte(0).byte(1).byte(1).byte(1).turn().save("balloon", "flood");
  Seed ends;
  ends.byte(0).bring_up(2).request(0).byte(4).byte(63);
  for (unsigned i = 0; i < 64; ++i) ends.byte(208 + i % 32);
  ends.buffer(0, 255).kick(0).save("balloon", "ends-of-memory");
  Seed moved;  // without statistics the queue of free pages moves up
  moved.byte(7).bring_up(4, 2).request(2).byte(3).buffer(0x4000, 64).kick(2).save("balloon", "a-queue-moves-up");

  Seed rng;
  rng.byte(0).bring_up(1).request(0).byte(1).buffer(0, 8).buffer(0x4000, 200).kick(0);
  rng.request(0, true).byte(0).buffer(0, 1).kick(0).save("rng", "requests");
  Seed flood;
  flood.byte(0).bring_up(1).flood(0, 60).byte(0).buffer(0, 8).turn().save("rng", "flood");
  Seed limited;
  limited.byte(1).bring_up(1);
  for (unsigned i = 0; i < 4; ++i) limited.request(0).byte(0).buffer(0, 8).kick(0);
  limited.time(200).turn().save("rng", "limited");
}

void queues() {
  for (const unsigned features : {0u, 16u, 32u, 48u}) {
    Seed seed;
    seed.byte(features).byte(3);  // 8 entries: rings at 0, 128 and 152
    const auto poke = [&seed](unsigned at, const std::vector<uint8_t>& bytes) {
      for (size_t i = 0; i < bytes.size(); i += 2)
        seed.byte(0).half(static_cast<unsigned>(at + i)).byte(bytes[i]).byte(bytes[i + 1]);
    };
    // Descriptor 0: 64 bytes at 0x8000, then 1, which may be written.
    poke(0, {0x00, 0x80, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 1, 0, 1, 0});
    poke(16, {0x00, 0x90, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 2, 0, 0, 0});
    poke(130, {1, 0, 0, 0});
    seed.byte(2).byte(4).put(uint32_t{64}).byte(5).byte(7).byte(8);
    // Descriptor 2: a table at 0x100 of one piece.
    poke(32, {0x00, 0x01, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 4, 0, 0, 0});
    poke(256, {0x00, 0x80, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 2, 0, 0, 0});
    poke(134, {2, 0});
    poke(130, {2, 0});
    seed.byte(9).byte(2 | 16 | 64).half(0).put(uint32_t{7}).byte(2).byte(6).byte(2).byte(4).put(uint32_t{64}).byte(5);
    seed.save("virtqueue", "features-" + std::to_string(features));
  }
}

void limits() {
  for (const bool burst : {false, true}) {
    Seed seed;
    const volley_bucket bucket{1000, burst ? 500u : 0u, 100};
    seed.put(volley_limiter{bucket, burst ? volley_bucket{} : bucket}).put(uint64_t{4'000'000'000});
    for (unsigned i = 0; i < 8; ++i) seed.byte(i % 3 == 0 ? 64 + 50 : 50).put(uint64_t{300} << 50).byte(1);
    seed.save("limiter", burst ? "burst" : "both-buckets");
  }
}

void ports() {
  Seed console;
  for (const unsigned offset : {1u, 2u, 3u, 4u})
    console.byte(0).byte(1 | offset << 5).byte(0).byte(offset == 3 ? 0 : 0x0b);
  for (const char c : std::string("login: ")) console.byte(0).byte(1).byte(0).byte(static_cast<unsigned>(c));
  console.byte(4).byte(5).text("root\n");
  for (unsigned i = 0; i < 8; ++i) console.byte(0).byte(0 | (i % 8) << 5).byte(0).byte(0);
  console.byte(0).byte(1 | 16).byte(0).byte(64).bytes(std::vector<uint8_t>(64, 'x')).save("ports", "console");
  Seed keyboard;
  for (const unsigned command : {0xaau, 0xabu, 0x20u, 0x60u}) keyboard.byte(0).byte(1).byte(2).byte(command);
  keyboard.byte(0).byte(1).byte(1).byte(0x45);
  for (const unsigned command : {0xffu, 0xf2u, 0xedu, 0x02u, 0xf4u}) keyboard.byte(0).byte(1).byte(1).byte(command);
  for (unsigned i = 0; i < 12; ++i) keyboard.byte(0).byte(0).byte(1).byte(0);
  keyboard.byte(6).half(1).byte(0).byte(1).byte(2).byte(0xfe).save("ports", "keyboard");
  Seed booted;
  booted.byte(3).byte(1).half(0).put(uint64_t{VOLLEY_BOOT_TIMER_VALUE});
  booted.byte(3).byte(1 | 3 << 1).half(8).put(uint64_t{VOLLEY_REPORT_EXITED});
  booted.byte(0).byte(1).byte(4).byte(0x34).save("ports", "boots-and-powers-off");
}

void agents() {
  Seed commands;
  commands.byte(0);
  for (const unsigned type : {5u, 1u, 2u, 3u, 6u}) commands.byte(4).byte(type).half(type).byte(0).byte(0).byte(0);
  commands.byte(4).byte(7).half(7).byte(5).byte(5).text("hello").byte(0);
  for (unsigned device = 0; device < 6; ++device) {
    commands.byte(4).byte(8).half(8).byte(0).byte(0).byte(device).byte(0);
    commands.put(volley_limiter{{1000, 0, 100}, {10, 0, 100}}).byte(0);
  }
  commands.byte(4).byte(9).half(9).byte(0).byte(0).put(uint32_t{1 << 20}).byte(0);
  commands.byte(2).put(uint32_t{1}).byte(4).byte(10).half(1).byte(0).byte(0).byte(1);
  commands.byte(4).byte(4).half(4).byte(0).byte(0).byte(0).save("control", "every-command");
  Seed agents;
  agents.byte(0).byte(0).byte(1).byte(0).byte(4).byte(5).half(5).byte(0).byte(0).byte(255).byte(7);
  agents.byte(4).byte(5).half(5).byte(0).byte(0).byte(222).save("control", "agents-come-and-go");

  for (unsigned order = 0; order < 4; ++order) {
    Seed seed;
    seed.byte(order).byte(order == 2 ? 0 : 5).byte(0).byte(0).save("birth", "order-" + std::to_string(order));
  }
  Seed full;
  full.byte(1).byte(64).byte(0).byte(0).save("birth", "as-many-descriptors-as-there-may-be");

  Seed messages;  // answers, the note of a boot, questions; then what is no message
  for (unsigned i = 0; i < 5; ++i) messages.byte(0).byte(i);
  messages.byte(1).byte(0).byte(1).byte(0).byte(2).byte(0);
  for (unsigned i = 0; i < 8; ++i) messages.byte(3).byte(i);
  messages.byte(3 | 8).byte(0).put(uint32_t{1024}).byte(3 | 128).byte(1).byte(64).byte(0).byte(3);
  messages.save("monitor", "messages");

  Seed stats;
  stats.byte(0).byte(2).byte(0).put(uint32_t{70'000}).byte(20).text("some serial output\r\n");
  for (const unsigned step : {0u, 4u, 6u}) {
    stats.byte(step).half(4096);
    if ((step & 2) != 0)
      stats.put(uint64_t{69'000});
    else
      stats.half(100);
  }
  stats.save("page_file", "running");
  Seed ended;
  ended.byte(8 | 16)
      .byte(4)
      .byte(2)
      .put(uint32_t{300})
      .byte(0)
      .byte(0)
      .half(65535)
      .half(300)
      .save("page_file", "ended");
}

void kernels() {
  const auto prefix = [](Seed& seed, unsigned how) -> Seed& {
    seed.byte(how);
    if ((how & 1) != 0) seed.half(5000);
    if ((how & 2) != 0) seed.half(300);
    return seed.half(20);
  };
  // The payload of a sample counts by its size only.
  const auto head = [](KernelFile file, size_t kept) {
    file.resize(kept);
    return file;
  };
  Seed bzimage;
  prefix(bzimage, 3).bytes(head(sample_bzimage(), 1800)).save("boot", "bzimage");
  KernelFile elf = sample_elf();
  elf.resize(600);
  poke<uint64_t>(&elf, sample_elf_part(0) + 8, 256);
  poke<uint64_t>(&elf, sample_elf_part(0) + 32, 100);
  poke<uint64_t>(&elf, sample_elf_part(1) + 8, 300);
  poke<uint64_t>(&elf, sample_elf_part(1) + 32, 200);
  Seed vmlinux;
  prefix(vmlinux, 1).bytes(elf).save("boot", "vmlinux");
  // PVH: an entry point that is no physical address, and a note.
  poke<uint64_t>(&elf, 24, 0xffffffff81000000);
  poke<uint64_t>(&elf, sample_elf_part(2) + 8, 520);
  poke<uint64_t>(&elf, sample_elf_part(2) + 32, 24);
  poke<uint64_t>(&elf, sample_elf_part(2) + 48, 4);
  poke<uint32_t>(&elf, 520, 4);
  poke<uint32_t>(&elf, 524, 8);
  poke<uint32_t>(&elf, 528, 18);
  memcpy(elf.data() + 532, "Xen", 4);
  poke<uint64_t>(&elf, 536, 0x1000010);
  Seed pvh;
  prefix(pvh, 3).bytes(elf).save("boot", "pvh");
  Seed notes;
  notes.byte(0).half(0).bytes({elf.begin() + 520, elf.begin() + 544}).save("boot", "notes");

  Seed config;
  config.byte(0).byte(0).save("config", "as-it-should-be");
  Seed linux_guest;
  linux_guest.byte(0).byte(2).half(12).byte(8).put(uint32_t{VOLLEY_BOOT_LINUX}).put(uint32_t{VOLLEY_IRQCHIP_FULL});
  linux_guest.half(20).byte(4).put(uint32_t{2}).save("config", "linux");
  Seed limited;
  const size_t limits = offsetof(volley_config, devices) + offsetof(volley_device, limits);
  limited.byte(0).byte(2);
  for (const size_t field : {0u, 16u}) limited.half(static_cast<unsigned>(limits + field)).byte(8).put(uint64_t{100});
  limited.save("config", "limited");
}

void init() {
  const auto frame = [](Seed& seed, uint8_t type, const std::string& body) {
    seed.put(volley_frame{static_cast<uint32_t>(body.size()), type, 0, 0}).text(body);
  };
  Seed frames;
  frames.byte(0);
  frame(frames, VOLLEY_GUEST_PING, "");
  frame(frames, VOLLEY_GUEST_STDIN, "hello");
  frame(frames, VOLLEY_GUEST_END, std::string(300, 'x'));
  frames.save("init", "frames");
  std::string records;
  for (const char* record : {"root",      "/dev/vda",
                             "root.type", "ext4",
                             "overlay",   "/dev/vdb",
                             "mount",     "/dev/vdc:/data:ext4:ro",
                             "arg",       "/bin/sh",
                             "env",       "A=b",
                             "user",      "1000:1000",
                             "hostname",  "guest",
                             "net",       "02:00:00:00:00:01 10.0.0.2/24 10.0.0.1 1500",
                             "dns",       "10.0.0.1",
                             "on.exit",   "reboot",
                             "grace",     "5000",
                             "time",      "1700000000"}) {
    records += std::string(record) + '\0';
  }
  Seed config;
  config.byte(1).text(records).save("init", "config");
  Seed answer;
  answer.byte(2).text("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello").save("init", "answer");
  Seed chunked;
  chunked.byte(2)
      .text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
      .save("init", "chunked");
  Seed user;
  user.byte(3)
      .byte(11)
      .text("daemon:mail")
      .byte(60)
      .text("root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/usr/sbin:/bin/false\n")
      .text("mail:x:8:root,daemon\n")
      .save("init", "user");
  Seed path;
  path.byte(4).text("name/child/./grandchild").save("init", "path");
}

// Machines that are restored as vcpu_fuzz.cpp reads them: each section is sound but for the changes that are named.
void vcpus() {
  constexpr uint32_t kTsc = 0x10, kTscDeadline = 0x6e0, kUnknownMsr = 0xf0000001;
  const auto machine = [](bool is_linux, bool full_irqchip, unsigned count) {
    Seed seed;
    seed.byte(is_linux).byte(full_irqchip).byte(count - 1);
    return seed;
  };
  const auto cpuid = [](Seed& seed, unsigned entries) { seed.byte(entries).byte(0); };
  const auto vcpu = [](Seed& seed, std::initializer_list<uint32_t> msrs) {
    seed.byte(static_cast<unsigned>(msrs.size()));
    for (const uint32_t index : msrs) seed.put(index);
    seed.byte(0);
  };
  // The VM's own section and that of its platform, with eight bytes to be typed; then a snapshot of it.
  const auto end = [](Seed& seed, const std::string& typed, unsigned flags) {
    seed.byte(0).byte(0).text(typed).byte(flags);
  };

  Seed flat = machine(false, false, 1);
  vcpu(flat, {});
  end(flat, "hello123", VOLLEY_SNAPSHOT_LIVE);
  flat.save("vcpu", "a-flat-guest");

  Seed two = machine(true, true, 2);
  for (int i = 0; i < 2; ++i) {
    cpuid(two, 2);
    vcpu(two, {kTsc, kTscDeadline});
  }
  end(two, "keys1234", VOLLEY_SNAPSHOT_LIVE | VOLLEY_SNAPSHOT_STAY);
  two.save("vcpu", "a-linux-guest-with-two-vcpus");

  Seed msrs = machine(false, false, 1);
  msrs.byte(255);
  for (const uint32_t index : {kTsc, kTscDeadline, kTsc, kUnknownMsr}) msrs.put(index);
  msrs.byte(1).put(uint32_t{offsetof(VcpuState, msr_count)}).byte(4).put(uint32_t{0x7fffffff});
  end(msrs, "", 0);
  msrs.save("vcpu", "too-many-msrs");

  Seed keys = machine(true, true, 1);
  cpuid(keys, 1);
  vcpu(keys, {});
  keys.byte(0).byte(1).put(uint32_t{offsetof(PlatformState, keyboard)}).byte(31);
  for (unsigned i = 0; i < 31; ++i) keys.byte(200 + i);
  keys.text("12345678").byte(0).save("vcpu", "a-keyboard-that-holds-keys");
}

void clones() {
  volley_restored told{};
  told.time_ns = 1'700'000'000'000'000'000;
  std::string records;
  for (const char* record :
       {"hostname", "clone", "net", "02:00:00:00:00:01 10.0.0.2/24 10.0.0.1 1500", "dns", "10.0.0.1"}) {
    records += std::string(record) + '\0';
  }
  for (const unsigned failing : {0u, 1u, 4u, 16u, 32u}) {
    Seed seed;
    seed.byte(failing).put(told).text(records);
    seed.save("restored", failing == 0 ? "all-is-done" : "step-" + std::to_string(failing) + "-fails");
  }
  Seed nothing;
  nothing.byte(0).put(told).save("restored", "no-records");
}

}  // namespace
}  // namespace volley::fuzz

int main(int argc, char** argv) {
  using namespace volley::fuzz;
  if (argc != 2) return 2;
  Seed::root = argv[1];
  disks();
  net();
  vsock();
  balloon_and_rng();
  queues();
  limits();
  ports();
  agents();
  kernels();
  init();
  vcpus();
  clones();
  return 0;
}
