#include "devices/devices.h"

#include "devices/attack.h"
#include "devices/waiting.h"

// Objects live in the arena, whose memory is zero; this is how they begin their life there.
inline void* operator new(size_t, void* place) { return place; }

namespace canary {

void Devices::run() {
  if (orders_.count == 0) return;
  if (life_.memory_bytes < Arena::kEnd) {
    Line().text("devices need 4 MiB of memory").send();
    panic();
  }
  discover();
  for (size_t i = 0; i < orders_.count; ++i) run(orders_.steps[i]);
}

void Devices::discover() {
  for (uint32_t index = 0; index < VOLLEY_MAX_DEVICES; ++index) {
    const Window window(index);
    const uint32_t magic = window.read(Window::kMagic);
    if (magic == 0xffffffff) return;
    const uint32_t version = window.read(Window::kVersion);
    const uint32_t id = window.read(Window::kDeviceId);
    if (magic != kVirtMagic || version != 2) {
      Result("device", index, false).value("magic", magic).value("version", version).send();
      panic();
    }
    devices_[count_++] = Device(index, id);
  }
}

void Devices::list() const {
  for (uint32_t i = 0; i < count_; ++i) {
    Result("device", i, true).value("id", devices_[i].id()).value("features", devices_[i].offered()).send();
  }
  Result("devices", count_, true).send();
}

Device* Devices::find(const char* word, VirtioId id, uint64_t number) {
  uint64_t left = number;
  for (uint32_t i = 0; i < count_; ++i) {
    if (devices_[i].id() == id && left-- == 0) return &devices_[i];
  }
  Result(word, number, false).text("reason", "no-such-device").send();
  return nullptr;
}

Block* Devices::disk(const char* word, uint64_t number) {
  if (number >= VOLLEY_MAX_DEVICES) return nullptr;
  Block*& disk = disks_[number];
  if (disk != nullptr) return disk;
  Device* device = find(word, kBlockId, number);
  if (device == nullptr) return nullptr;
  auto* fresh = new (arena_.take<Block>()) Block;
  if (!fresh->start(bench_, device, static_cast<uint32_t>(number))) return nullptr;
  return disk = fresh;
}

void Devices::start_net(const Step& step) {
  if (net_count_ == kMostNets) return;
  Device* device = find("net", kNetId, net_count_);
  if (device == nullptr) return;
  auto* net = new (arena_.take<Net>()) Net;
  const auto number = static_cast<uint32_t>(net_count_);
  if (!net->start(bench_, device, number, static_cast<uint32_t>(step.numbers[0]),
                  static_cast<uint32_t>(step.numbers[1]), static_cast<uint32_t>(step.numbers[2]))) {
    return;
  }
  nets_[net_count_++] = net;
}

// What the ways to a device cost here, in nanoseconds each.
void Devices::cost() {
  constexpr uint64_t kTimes = 200;
  if (count_ == 0) return;
  const Window window(0);
  const auto measure = [&](auto body) {
    const uint64_t began = life_.clock.since_boot_ns();
    for (uint64_t i = 0; i < kTimes; ++i) body();
    return (life_.clock.since_boot_ns() - began) / kTimes;
  };
  const uint64_t read = measure([&] { (void)window.read(Window::kMagic); });
  const uint64_t write = measure([&] { window.write(Window::kQueueSelect, 0); });
  const uint64_t kick = measure([&] { window.write(Window::kQueueNotify, 0xffff); });
  const uint64_t service = measure([] { (void)in_byte(0x80); });
  Result("cost", 0, true)
      .value("read", read)
      .value("write", write)
      .value("kick", kick)
      .value("port-by-service", service)
      .send();
}

void Devices::run(const Step& step) {
  const uint64_t* n = step.numbers;
  Device* device = nullptr;
  Block* block = nullptr;
  switch (step.kind) {
    case StepKind::kDevices:
      return list();
    case StepKind::kWrite:
      if ((block = disk("write", n[0])) != nullptr) block->write(n[1], n[2], n[3]);
      return;
    case StepKind::kVerify:
      if ((block = disk("verify", n[0])) != nullptr) block->verify(n[1], n[2], n[3]);
      return;
    case StepKind::kZeros:
      if ((block = disk("zeros", n[0])) != nullptr) block->zeros(n[1], n[2]);
      return;
    case StepKind::kDiscard:
      if ((block = disk("discard", n[0])) != nullptr) block->discard(n[1], n[2]);
      return;
    case StepKind::kZero:
      if ((block = disk("zero", n[0])) != nullptr) block->write_zeroes(n[1], n[2]);
      return;
    case StepKind::kFlush:
      if ((block = disk("flush", n[0])) != nullptr) block->flush();
      return;
    case StepKind::kId:
      if ((block = disk("id", n[0])) != nullptr) block->identify();
      return;
    case StepKind::kReads:
      if ((block = disk("reads", n[0])) != nullptr) block->rate("reads", false, n[1], n[2], n[3]);
      return;
    case StepKind::kWrites:
      if ((block = disk("writes", n[0])) != nullptr) block->rate("writes", true, n[1], n[2], n[3]);
      return;
    case StepKind::kRng:
      if (!rng_.started() && ((device = find("rng", kRngId, 0)) == nullptr || !rng_.start(bench_, device))) return;
      return rng_.read(n[0]);
    case StepKind::kNet:
      return start_net(step);
    case StepKind::kPing:
      if (net_count_ != 0) nets_[0]->ping(static_cast<uint32_t>(n[0]), n[1]);
      return;
    case StepKind::kUdp:
      if (net_count_ != 0) nets_[0]->flood(static_cast<uint32_t>(n[0]), static_cast<uint32_t>(n[1]), n[2], n[3]);
      return;
    case StepKind::kBalloon:
    case StepKind::kFreePages:
      if (!balloon_.started() &&
          ((device = find("balloon", kBalloonId, 0)) == nullptr || !balloon_.start(bench_, device))) {
        return;
      }
      if (step.kind == StepKind::kFreePages) return balloon_.report_free(n[0]);
      return balloon_.poll();
    case StepKind::kListen:
    case StepKind::kConnect:
      if (!vsock_.started() && ((device = find("vsock", kVsockId, 0)) == nullptr || !vsock_.start(bench_, device))) {
        return;
      }
      if (step.kind == StepKind::kListen) return vsock_.listen(static_cast<uint32_t>(n[0]));
      return vsock_.connect(static_cast<uint32_t>(n[0]), step.text, step.length);
    case StepKind::kTell:
      *reinterpret_cast<volatile uint32_t*>(VOLLEY_GUEST_REPORT_ADDRESS) = static_cast<uint32_t>(n[0]);
      return;
    case StepKind::kWait:
      wait_for(life_, n[0], [this] {
        poll();
        return false;
      });
      return;
    case StepKind::kCost:
      return cost();
    case StepKind::kAttack:
      return attack(bench_, devices_, count_, static_cast<AttackKind>(n[0]), n[1]);
  }
}

void Devices::poll() {
  // A clone has other random numbers than its siblings, or something is wrong: they are shown.
  if (generation_ != generations()) {
    generation_ = generations();
    for (uint32_t i = 0; i < net_count_; ++i) nets_[i]->read_address();
    if (rng_.started()) rng_.read(16);
  }
  for (uint32_t i = 0; i < net_count_; ++i) nets_[i]->poll();
  balloon_.poll();
  vsock_.poll();
}

}  // namespace canary
