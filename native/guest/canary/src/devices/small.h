#pragma once

#include "devices/device.h"

namespace canary {

class Rng {
 public:
  bool start(const Bench& bench, Device* device);
  bool started() const { return device_ != nullptr; }
  // Reads `bytes` in requests of at most 4 KiB, and prints the first 16 and how many of the 256 values appeared.
  void read(uint64_t bytes);

 private:
  static constexpr uint32_t kMaxBytes = 4096;

  const Bench* bench_ = nullptr;
  Device* device_ = nullptr;
  Queue queue_;
  uint8_t* data_ = nullptr;
};

// Gives memory back as the host asks, from the end of RAM downwards.
class Balloon {
 public:
  bool start(const Bench& bench, Device* device);
  bool started() const { return device_ != nullptr; }
  // Goes towards the target, and answers when asked for statistics. Called on every wake; prints when it has arrived.
  void poll();
  // Reports `kib` of memory from 4 MiB on as free, once.
  void report_free(uint64_t kib);

 private:
  static constexpr uint32_t kBatch = 256;

  bool move(Queue& queue, uint32_t pages, uint32_t first);
  void offer_statistics();

  const Bench* bench_ = nullptr;
  Device* device_ = nullptr;
  Queue inflate_;
  Queue deflate_;
  Queue statistics_;
  Queue reporting_;
  bool has_reporting_ = false;
  bool has_statistics_ = false;
  uint32_t actual_ = 0;  // pages
  uint32_t said_ = 0;
  uint32_t* numbers_ = nullptr;
  uint8_t* tags_ = nullptr;
};

}  // namespace canary
