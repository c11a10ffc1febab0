#pragma once

#include "devices/block.h"
#include "devices/device.h"
#include "devices/net.h"
#include "devices/orders.h"
#include "devices/small.h"
#include "devices/vsock.h"

namespace canary {

// All virtio devices of this machine: finds them, does what the command line asks of them, and serves them for as long
// as the canary lives.
class Devices {
 public:
  Devices(const Life& life, const DeviceOrders& orders)
      : life_(life), orders_(orders), bench_{life, arena_, !orders.no_event_index, !orders.no_indirect} {}

  void run();
  // Answers what came in. Called on every wake.
  void poll();
  // Something must be answered as long as the canary lives.
  bool serving() const { return net_count_ != 0 || balloon_.started() || vsock_.started(); }

 private:
  static constexpr uint32_t kMostNets = 4;

  void discover();
  void list() const;
  void run(const Step& step);
  // Device number `number` of that type, or null after a result line.
  Device* find(const char* word, VirtioId id, uint64_t number);
  Block* disk(const char* word, uint64_t number);
  void start_net(const Step& step);
  void cost();

  const Life& life_;
  const DeviceOrders& orders_;
  Arena arena_;
  Bench bench_;
  Device devices_[VOLLEY_MAX_DEVICES];
  uint32_t count_ = 0;
  Block* disks_[VOLLEY_MAX_DEVICES] = {};
  Net* nets_[kMostNets] = {};
  uint32_t net_count_ = 0;
  uint64_t generation_ = 0;  // the one that was looked at last
  Rng rng_;
  Balloon balloon_;
  Vsock vsock_;
};

}  // namespace canary
