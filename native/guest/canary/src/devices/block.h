#pragma once

#include "devices/device.h"

namespace canary {

class Block {
 public:
  // Takes the disk into use. False (after a result line) if that fails. `number` counts the disks.
  bool start(const Bench& bench, Device* device, uint32_t number);
  bool started() const { return started_; }

  // Each prints one result line. Offsets and lengths in KiB.
  void write(uint64_t offset, uint64_t length, uint64_t seed) { pattern("write", offset, length, seed, true); }
  void verify(uint64_t offset, uint64_t length, uint64_t seed) { pattern("verify", offset, length, seed, false); }
  void zeros(uint64_t offset, uint64_t length);
  void discard(uint64_t offset, uint64_t length) { range("discard", 11, offset, length); }
  void write_zeroes(uint64_t offset, uint64_t length) { range("zero", 13, offset, length); }
  void flush();
  void identify();
  // `count` requests of `bytes` each, `depth` at a time, one after another over the disk.
  void rate(const char* word, bool writing, uint64_t count, uint64_t bytes, uint64_t depth);

 private:
  static constexpr uint32_t kMaxBytes = 65536;
  static constexpr uint32_t kMaxDepth = 16;
  struct Request;

  // With the data at `data`, in `pieces` pieces.
  bool submit(uint32_t slot, uint32_t type, uint64_t sector, uint8_t* data, uint32_t bytes, bool device_writes,
              uint32_t pieces);
  bool take(uint32_t* slot);
  // One request, waited for. True if the device says that it was done.
  bool transfer(const char* word, uint32_t type, uint64_t sector, uint32_t bytes, bool device_writes);
  void pattern(const char* word, uint64_t offset, uint64_t length, uint64_t seed, bool writing);
  void range(const char* word, uint32_t type, uint64_t offset, uint64_t length);

  const Bench* bench_ = nullptr;
  Device* device_ = nullptr;
  uint32_t number_ = 0;
  bool started_ = false;
  uint64_t sectors_ = 0;
  uint32_t segments_ = 1;  // of data in one request
  Queue queue_;
  Request* requests_ = nullptr;
  uint8_t* data_ = nullptr;  // kMaxBytes, shared by all disks; each request in flight has its part
};

}  // namespace canary
