#include "devices/attack.h"

#include "devices/random.h"
#include "devices/waiting.h"

namespace canary {
namespace {

constexpr uint32_t kRounds = 40;
constexpr uint32_t kQueues = 6;  // of the devices there are, none has more
// Where no buffer should be, and RAM that nobody uses. The attack is on the VMM: it must not hit the canary itself.
constexpr uint64_t kAddresses[] = {
    0x9fc00,  // behind the low memory
    0xe0000,  // where a PC has firmware
    0x3fffff,
    0xbffffff0,  // the end of what may be RAM
    0xc0000000,  // device windows
    0xc0001000,     0xfec00000,         0xfee00000,         0xffffffff,         0x100000000,
    0x7fffffffffff, 0x8000000000000000, 0xfffffffffffff000, 0xffffffffffffffff,
};
constexpr uint32_t kLengths[] = {0,    1,     11,         12,         16,         44,        512,
                                 4095, 65536, 0x7fffffff, 0x80000000, 0xfffff000, 0xffffffff};
// Below `bound`, as the 32-bit number it is.
uint32_t pick(Random& random, uint32_t bound) { return static_cast<uint32_t>(random.below(bound)); }

template <typename T, size_t N>
T any(Random& random, const T (&of)[N]) {
  return of[random.below(N)];
}

// A device set up by its rules, whose rings are then filled with what breaks them.
class Victim {
 public:
  Victim(const Bench& bench, Device& device) : bench_(bench), device_(device) {}

  // False if it has no queue, which no device should come to.
  bool prepare(const uint64_t wanted = ~0ull) {
    if (!device_.negotiate(bench_, wanted)) return false;
    count_ = 0;
    // Rings of an earlier round are used again: the arena is small.
    while (count_ < kQueues) {
      Rings& rings = rings_[count_];
      device_.window().write(Window::kQueueSelect, count_);
      const uint32_t most = device_.window().read(Window::kQueueSizeMax);
      if (most == 0) break;
      rings.size = most < 32 ? most : 32;
      if (rings.descriptors == nullptr) {
        rings.descriptors = static_cast<Descriptor*>(bench_.arena.take(32 * sizeof(Descriptor), 16));
        rings.available = static_cast<uint16_t*>(bench_.arena.take(6 + 2 * 32, 2));
        rings.used = static_cast<uint8_t*>(bench_.arena.take(6 + 8 * 32, 4));
      }
      for (uint32_t i = 0; i < 6 + 2 * 32; i += 2) rings.available[i / 2] = 0;
      for (uint32_t i = 0; i < 6 + 8 * 32; ++i) rings.used[i] = 0;
      place(rings, reinterpret_cast<uint64_t>(rings.descriptors), reinterpret_cast<uint64_t>(rings.available),
            reinterpret_cast<uint64_t>(rings.used));
      ++count_;
    }
    device_.start();
    return count_ > 0;
  }

  struct Rings {
    uint32_t size;
    volatile Descriptor* descriptors;
    volatile uint16_t* available;
    volatile uint8_t* used;
  };

  void place(const Rings& rings, uint64_t descriptors, uint64_t available, uint64_t used) const {
    const Window& window = device_.window();
    window.write(Window::kQueueSize, rings.size);
    window.write_address(Window::kQueueDescriptors, descriptors);
    window.write_address(Window::kQueueAvailable, available);
    window.write_address(Window::kQueueUsed, used);
    window.write(Window::kQueueReady, 1);
  }

  void set(uint32_t queue, uint32_t at, uint64_t address, uint32_t length, uint32_t flags, uint32_t next) {
    volatile Descriptor& descriptor = rings_[queue].descriptors[at];
    descriptor.address = address;
    descriptor.length = length;
    descriptor.flags = static_cast<uint16_t>(flags);
    descriptor.next = static_cast<uint16_t>(next);
  }
  // Hands over `heads` chains that begin at `head`.
  void hand_over(uint32_t queue, uint32_t head, uint32_t heads = 1) {
    Rings& rings = rings_[queue];
    const uint16_t index = rings.available[1];
    for (uint32_t i = 0; i < heads; ++i) rings.available[2 + (index + i) % rings.size] = static_cast<uint16_t>(head);
    rings.available[1] = static_cast<uint16_t>(index + heads);
    kick(queue);
  }
  void kick(uint32_t queue) const { device_.window().write(Window::kQueueNotify, queue); }
  // Time for the device to run into it. Counts the devices that then ask for a reset.
  void pause() {
    if (wait_for(bench_.life, 5, [this] { return device_.is_broken(); })) ++broken_;
  }
  uint32_t broken() const { return broken_; }

  Rings& rings(uint32_t queue) { return rings_[queue]; }
  uint32_t queues() const { return count_; }
  Device& device() const { return device_; }
  const Window& window() const { return device_.window(); }

 private:
  const Bench& bench_;
  Device& device_;
  Rings rings_[kQueues] = {};
  uint32_t count_ = 0;
  uint32_t broken_ = 0;
};

void descriptors(Victim& victim, Random& random) {
  constexpr uint32_t kCases = 10;
  const uint64_t good = Arena::kScratch;
  for (uint32_t what = 0; what < kCases; ++what) {
    if (!victim.prepare()) return;
    for (uint32_t queue = 0; queue < victim.queues(); ++queue) {
      const uint32_t size = victim.rings(queue).size;
      switch (what) {
        case 0:  // out of range
          victim.set(queue, 0, any(random, kAddresses), 512, pick(random, 2) * kWritable, 0);
          break;
        case 1:  // too long
          victim.set(queue, 0, good, any(random, kLengths), pick(random, 2) * kWritable, 0);
          break;
        case 2:  // address and length wrap around
          victim.set(queue, 0, ~0ull - 255, 512, kWritable, 0);
          break;
        case 3:  // a loop of one
          victim.set(queue, 0, good, 16, kHasNext, 0);
          break;
        case 4:  // a loop of all
          for (uint32_t i = 0; i < size; ++i) victim.set(queue, i, good, 16, kHasNext, (i + 1) % size);
          break;
        case 5:  // goes on outside of the table
          victim.set(queue, 0, good, 16, kHasNext, size + pick(random, 60000));
          break;
        case 6:  // writable before readable
          victim.set(queue, 0, good, 16, kHasNext | kWritable, 1);
          victim.set(queue, 1, good + 512, 16, kHasNext, 2);
          victim.set(queue, 2, good + 1024, 1, kWritable, 0);
          break;
        case 7:  // nothing at all
          victim.set(queue, 0, good, 0, kHasNext, 1);
          victim.set(queue, 1, good, 0, 0, 0);
          break;
        case 8:  // a head outside of the table
          victim.hand_over(queue, size + pick(random, 60000));
          continue;
        default:  // more chains than there can be
          victim.set(queue, 0, good, 16, kWritable, 0);
          victim.rings(queue).available[1] = static_cast<uint16_t>(1000 + random.below(60000));
          victim.kick(queue);
          continue;
      }
      victim.hand_over(queue, 0);
    }
    victim.pause();
  }
}

void indirect(Victim& victim, Random& random) {
  const uint64_t good = Arena::kScratch;
  auto* table = reinterpret_cast<volatile Descriptor*>(good);
  for (uint32_t what = 0; what < 8; ++what) {
    if (!victim.prepare()) return;
    for (uint32_t queue = 0; queue < victim.queues(); ++queue) {
      for (uint32_t i = 0; i < 64; ++i) {
        table[i].address = good + 4096;
        table[i].length = 16;
        table[i].flags = kHasNext;
        table[i].next = static_cast<uint16_t>(i + 1);
      }
      uint64_t address = good;
      uint32_t length = 64 * sizeof(Descriptor);
      uint32_t flags = kTable;
      if (what == 0) address = any(random, kAddresses);
      if (what == 1) length = any(random, kLengths);
      if (what == 2) table[1].flags = kTable;                                         // a table in a table
      if (what == 3) table[5].next = 0;                                               // a loop in the table
      if (what == 4) table[3].next = static_cast<uint16_t>(64 + random.below(1000));  // out of the table
      if (what == 5) flags |= kHasNext;                                               // both at once
      if (what == 6) length = 17;                                                     // no whole number of descriptors
      if (what == 7) length = 0xfffffff0;                                             // a table beyond all memory
      victim.set(queue, 0, address, length, flags, 1);
      victim.set(queue, 1, good + 8192, 16, kWritable, 0);
      victim.hand_over(queue, 0);
    }
    victim.pause();
  }
}

void rings(const Bench& bench, Victim& victim, Random& random) {
  constexpr uint32_t kSizes[] = {0, 1, 3, 32, 1024, 2048, 0x8000, 0xffff, 0x10000, 0xffffffff};
  const uint64_t good = Arena::kScratch;
  for (uint32_t round = 0; round < kRounds; ++round) {
    Device& device = victim.device();
    if (!device.negotiate(bench, ~0ull)) return;
    for (uint32_t queue = 0; queue < kQueues; ++queue) {
      device.window().write(Window::kQueueSelect, queue);
      Victim::Rings rings{};
      rings.size = random.below(2) != 0 ? 32 : any(random, kSizes);
      const auto address = [&] { return random.below(3) != 0 ? good + random.below(4096) : any(random, kAddresses); };
      victim.place(rings, address(), address(), address());
    }
    device.start();
    for (uint32_t queue = 0; queue < kQueues; ++queue) victim.kick(queue);
  }
}

void random_rings(Victim& victim, Random& random) {
  for (uint32_t round = 0; round < kRounds; ++round) {
    if (!victim.prepare(random.next())) continue;
    for (uint32_t queue = 0; queue < victim.queues(); ++queue) {
      const uint32_t size = victim.rings(queue).size;
      for (uint32_t i = 0; i < size; ++i) {
        const uint64_t address = random.below(4) != 0 ? Arena::kScratch + random.below(65536) : any(random, kAddresses);
        const uint32_t length =
            random.below(4) != 0 ? static_cast<uint32_t>(random.below(8192)) : any(random, kLengths);
        const uint64_t flags = random.below(16) == 0 ? random.below(65536) : random.below(4);
        victim.set(queue, i, address, length, static_cast<uint32_t>(flags), static_cast<uint32_t>(random.below(size)));
      }
      // Headers that devices look at. To the balloon they are pages, wherever it begins to read: none may be the
      // canary's own, so all bytes are set.
      const bool pages = victim.device().id() == kBalloonId;
      for (uint32_t i = 0; i < (pages ? 8192u : 512u); ++i) {
        auto* words = reinterpret_cast<volatile uint64_t*>(Arena::kScratch);
        if (pages) {
          words[i] = random.next() | 0x0101010101010101;
        } else {
          words[random.below(8192)] = random.below(2) != 0 ? random.below(20) : random.next();
        }
      }
      const auto heads = static_cast<uint32_t>(1 + random.below(size));
      for (uint32_t i = 0; i < heads; ++i) victim.hand_over(queue, static_cast<uint32_t>(random.below(size)));
    }
    if (round % 8 == 0) victim.pause();
  }
}

// Changes what was handed over while the device looks at it.
void race(const Bench& bench, Victim& victim, Random& random) {
  const uint64_t good = Arena::kScratch;
  for (uint32_t round = 0; round < kRounds / 4; ++round) {
    if (!victim.prepare()) return;
    for (uint32_t queue = 0; queue < victim.queues(); ++queue) {
      const uint32_t size = victim.rings(queue).size;
      for (uint32_t i = 0; i < size; ++i) {
        victim.set(queue, i, good, 4096, i % 3 == 2 ? kWritable : kHasNext | (i % 3 == 1 ? kWritable : 0),
                   (i + 1) % size);
      }
      victim.hand_over(queue, 0, size);
    }
    const uint64_t end = bench.life.clock.since_boot_ns() + 3 * kNsPerMs;
    while (bench.life.clock.since_boot_ns() < end) {
      const auto queue = static_cast<uint32_t>(random.below(victim.queues()));
      Victim::Rings& rings = victim.rings(queue);
      volatile Descriptor& descriptor = rings.descriptors[random.below(rings.size)];
      switch (random.below(5)) {
        case 0:
          descriptor.address = any(random, kAddresses);
          break;
        case 1:
          descriptor.length = any(random, kLengths);
          break;
        case 2:
          descriptor.flags = static_cast<uint16_t>(random.below(8));
          break;
        case 3:
          descriptor.next = static_cast<uint16_t>(random.next());
          break;
        default:
          reinterpret_cast<volatile uint64_t*>(good)[random.below(8)] = random.next();
          rings.available[1] = static_cast<uint16_t>(rings.available[1] + 1);
          if (random.below(64) == 0) victim.kick(queue);
          break;
      }
    }
  }
}

void kicks(Victim& victim, Random& random) {
  if (!victim.prepare()) return;
  for (uint32_t i = 0; i < 2000; ++i) {
    const bool sane = random.below(4) != 0;
    victim.kick(static_cast<uint32_t>(sane ? random.below(kQueues) : random.next()));
  }
}

void acks(Victim& victim, Random& random) {
  if (!victim.prepare()) return;
  for (uint32_t i = 0; i < 1000; ++i) {
    victim.window().write(Window::kInterruptAcknowledge, static_cast<uint32_t>(random.next()));
    (void)victim.window().read(Window::kInterruptStatus);
  }
}

void resets(Victim& victim, Random& random) {
  for (uint32_t i = 0; i < 2 * kRounds; ++i) {
    if (!victim.prepare()) return;
    const auto queue = static_cast<uint32_t>(random.below(victim.queues()));
    victim.set(queue, 0, Arena::kScratch, 4096, kWritable, 0);
    victim.hand_over(queue, 0);
    if (random.below(2) == 0) victim.window().write(Window::kStatus, 0);
  }
  for (uint32_t i = 0; i < 500; ++i)
    victim.window().write(Window::kStatus, static_cast<uint32_t>(random.next() & 0xff));
}

void config(Victim& victim, Random& random) {
  if (!victim.prepare()) return;
  for (uint32_t i = 0; i < 600; ++i) {
    const uint64_t at = victim.window().base() + Window::kConfig + random.below(i % 2 == 0 ? 64 : 0xf00);
    switch (random.below(4)) {
      case 0:
        *reinterpret_cast<volatile uint8_t*>(at) = static_cast<uint8_t>(random.next());
        break;
      case 1:
        *reinterpret_cast<volatile uint32_t*>(at & ~3ull) = static_cast<uint32_t>(random.next());
        break;
      case 2:
        *reinterpret_cast<volatile uint64_t*>(at & ~7ull) = random.next();
        break;
      default:
        (void)*reinterpret_cast<volatile uint16_t*>(at & ~1ull);
        break;
    }
  }
}

void resetup(Victim& victim, Random& random) {
  constexpr uint32_t kRegisters[] = {Window::kQueueSize,      Window::kQueueReady,  Window::kQueueDescriptors,
                                     Window::kQueueAvailable, Window::kQueueUsed,   Window::kDriverFeatures,
                                     Window::kQueueUsed + 4,  Window::kQueueSelect, Window::kDriverFeaturesSelect};
  for (uint32_t round = 0; round < 4; ++round) {
    if (!victim.prepare()) return;
    for (uint32_t queue = 0; queue < victim.queues(); ++queue) {
      victim.set(queue, 0, Arena::kScratch, 4096, kWritable, 0);
      victim.hand_over(queue, 0);
      for (uint32_t i = 0; i < 60; ++i) {
        const auto value = static_cast<uint32_t>(random.below(2) != 0 ? any(random, kAddresses) : random.below(4));
        victim.window().write(any(random, kRegisters), value);
        if (random.below(8) == 0) victim.kick(queue);
      }
    }
  }
}

void mmio(Random& random) {
  // All windows and what follows them, but not the local APIC, without which nobody would wake us.
  constexpr uint64_t kFirst = VOLLEY_BOOT_TIMER_ADDRESS + 16;
  constexpr uint64_t kBytes = VOLLEY_VIRTIO_STRIDE * (VOLLEY_MAX_DEVICES + 3);
  for (uint32_t i = 0; i < 1500; ++i) {
    const uint64_t at = kFirst + random.below(kBytes);
    switch (random.below(6)) {
      case 0:
        *reinterpret_cast<volatile uint32_t*>(at) = static_cast<uint32_t>(random.next());
        break;
      case 1:
        *reinterpret_cast<volatile uint8_t*>(at) = static_cast<uint8_t>(random.next());
        break;
      case 2:
        *reinterpret_cast<volatile uint64_t*>(at) = random.next();
        break;
      case 3:
        (void)*reinterpret_cast<volatile uint8_t*>(at);
        break;
      case 4:
        (void)*reinterpret_cast<volatile uint64_t*>(at);
        break;
      default:
        (void)*reinterpret_cast<volatile uint16_t*>(at);
        break;
    }
  }
}

// Every port but those that end the machine.
void ports(Random& random) {
  for (uint32_t i = 0; i < 1500; ++i) {
    const auto wide = static_cast<uint16_t>(random.next());
    const auto port = static_cast<uint16_t>(random.below(2) != 0 ? wide : 0x3f8 + wide % 8);
    const uint16_t chosen = random.below(4) == 0 ? static_cast<uint16_t>(0x60 + wide % 5) : port;
    const bool ends = chosen == VOLLEY_PORT_I8042_COMMAND || chosen == VOLLEY_PORT_I8042_DATA ||
                      chosen == VOLLEY_PORT_PVPANIC || chosen == VOLLEY_PORT_ACPI_SLEEP;
    if (random.below(2) != 0 || ends) {
      (void)in_byte(chosen);
    } else {
      out_byte(chosen, static_cast<uint8_t>(random.next()));
    }
  }
  // The keyboard controller with everything but its resets.
  for (uint32_t i = 0; i < 256; ++i) {
    if (i == 0xfe || i == 0xd1) continue;
    out_byte(VOLLEY_PORT_I8042_COMMAND, static_cast<uint8_t>(i));
    out_byte(VOLLEY_PORT_I8042_DATA, static_cast<uint8_t>(random.next()));
    (void)in_byte(VOLLEY_PORT_I8042_DATA);
  }
  // Serial port as it was: no loop-back, data and not divisor.
  out_byte(VOLLEY_PORT_SERIAL + 3, 3);
  out_byte(VOLLEY_PORT_SERIAL + 4, 8);
}

void serial(Random& random) {
  char line[128];
  for (uint32_t i = 0; i < 100; ++i) {
    for (char& c : line) c = static_cast<char>(random.next());
    print(line, sizeof line);
  }
}

constexpr const char* kNames[] = {"descriptors", "indirect", "rings",   "random", "race",  "kicks",  "acks",
                                  "resets",      "config",   "resetup", "mmio",   "ports", "serial", "all"};

void attack_device(const Bench& bench, Victim& victim, AttackKind kind, Random& random) {
  switch (kind) {
    case AttackKind::kDescriptors:
      return descriptors(victim, random);
    case AttackKind::kIndirect:
      return indirect(victim, random);
    case AttackKind::kRings:
      return rings(bench, victim, random);
    case AttackKind::kRandom:
      return random_rings(victim, random);
    case AttackKind::kRace:
      return race(bench, victim, random);
    case AttackKind::kKicks:
      return kicks(victim, random);
    case AttackKind::kAcks:
      return acks(victim, random);
    case AttackKind::kResets:
      return resets(victim, random);
    case AttackKind::kConfig:
      return config(victim, random);
    case AttackKind::kResetup:
      return resetup(victim, random);
    default:
      return;
  }
}

}  // namespace

void attack(const Bench& bench, Device* devices, uint32_t count, AttackKind kind, uint64_t seed) {
  Random random(seed * 1000 + static_cast<uint64_t>(kind));
  uint64_t broken = 0;
  if (kind == AttackKind::kAll) {
    for (uint8_t each = 0; each < static_cast<uint8_t>(AttackKind::kAll); ++each) {
      attack(bench, devices, count, static_cast<AttackKind>(each), seed);
    }
  }
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t mark = bench.arena.mark();
    for (uint64_t at = Arena::kScratch; at < Arena::kEnd; at += 8) *reinterpret_cast<volatile uint64_t*>(at) = 0;
    Victim victim(bench, devices[i]);
    attack_device(bench, victim, kind, random);
    broken += victim.broken();
    devices[i].reset();
    bench.arena.release(mark);
  }
  if (kind == AttackKind::kMmio) mmio(random);
  if (kind == AttackKind::kPorts) ports(random);
  if (kind == AttackKind::kSerial) serial(random);
  for (uint32_t i = 0; i < count; ++i) devices[i].reset();
  const char* name = kNames[static_cast<uint8_t>(kind)];
  Line().text("").send();
  Result("attack", seed, true).text("kind", name).value("devices", count).value("broken", broken).send();
}

}  // namespace canary
