#include "devices/block.h"

#include "devices/random.h"
#include "devices/waiting.h"

namespace canary {
namespace {

constexpr uint32_t kSegmentsFeature = 2;
constexpr uint32_t kReadOnlyFeature = 5;
constexpr uint32_t kFlushFeature = 9;
constexpr uint32_t kDiscardFeature = 13;
constexpr uint32_t kWriteZeroesFeature = 14;
constexpr uint32_t kRead = 0;
constexpr uint32_t kWrite = 1;
constexpr uint32_t kFlush = 4;
constexpr uint32_t kGetId = 8;
constexpr uint64_t kSectorsPerKib = 2;
constexpr uint32_t kSectorBytes = 512;
constexpr uint64_t kTimeoutMs = 20'000;
constexpr uint8_t kNotAnswered = 0xee;

// Of all disks: one request, or one series of requests, is under way at a time.
uint8_t* shared_data = nullptr;

struct Header {
  uint32_t type;
  uint32_t reserved;
  uint64_t sector;
};

struct Range {
  uint64_t sector;
  uint32_t sectors;
  uint32_t flags;
};

}  // namespace

struct Block::Request {
  Header header;
  uint8_t status;
};

bool Block::start(const Bench& bench, Device* device, uint32_t number) {
  bench_ = &bench;
  device_ = device;
  number_ = number;
  constexpr uint64_t kWanted = 1ull << kSegmentsFeature | 1ull << kReadOnlyFeature | 1ull << kFlushFeature |
                               1ull << kDiscardFeature | 1ull << kWriteZeroesFeature;
  if (!device->negotiate(bench, kWanted) || !device->set_up(bench, 0, &queue_)) {
    Result("disk", number, false).text("reason", "set-up").send();
    return false;
  }
  sectors_ = device->window().config64(0);
  if (device->has(kSegmentsFeature)) segments_ = device->window().config32(12);
  if (segments_ > Queue::kMaxPieces - 2) segments_ = Queue::kMaxPieces - 2;
  if (segments_ == 0) segments_ = 1;
  requests_ = bench.arena.take<Request>(kMaxDepth);
  if (shared_data == nullptr) shared_data = static_cast<uint8_t*>(bench.arena.take(kMaxBytes, 4096));
  data_ = shared_data;
  device->start();
  started_ = true;
  return true;
}

bool Block::submit(uint32_t slot, uint32_t type, uint64_t sector, uint8_t* data, uint32_t bytes, bool device_writes,
                   uint32_t pieces) {
  Request& request = requests_[slot];
  request.header = {type, 0, sector};
  request.status = kNotAnswered;
  Piece list[Queue::kMaxPieces];
  size_t count = 0;
  list[count++] = {&request.header, sizeof(Header), false};
  for (uint32_t left = bytes, i = 0; left > 0; ++i) {
    // Pieces of different sizes, all of whole sectors but the last.
    const uint32_t share = i + 1 == pieces ? left : left / (pieces - i) / kSectorBytes * kSectorBytes;
    const uint32_t length = share == 0 ? left : share;
    list[count++] = {data, length, device_writes};
    data += length;
    left -= length;
  }
  list[count++] = {&request.status, 1, true};
  if (!queue_.add(list, count, slot)) return false;
  queue_.kick();
  return true;
}

bool Block::take(uint32_t* slot) {
  uint64_t token = 0;
  uint32_t written = 0;
  if (!queue_.take(&token, &written)) return false;
  *slot = static_cast<uint32_t>(token);
  return true;
}

bool Block::transfer(const char* word, uint32_t type, uint64_t sector, uint32_t bytes, bool device_writes) {
  const uint32_t pieces = bytes >= segments_ * kSectorBytes ? segments_ : 1;
  uint32_t slot = 0;
  if (!submit(0, type, sector, data_, bytes, device_writes, pieces)) {
    Result(word, number_, false).text("reason", "queue-full").send();
    return false;
  }
  if (!wait_for(bench_->life, kTimeoutMs, [&] { return take(&slot); })) {
    Result(word, number_, false).text("reason", "timeout").value("sector", sector).send();
    return false;
  }
  device_->acknowledge();
  const uint8_t status = requests_[0].status;
  if (status != 0) Result(word, number_, false).text("reason", "status").value("status", status).send();
  return status == 0;
}

void Block::pattern(const char* word, uint64_t offset, uint64_t length, uint64_t seed, bool writing) {
  const uint64_t end = (offset + length) * 1024;
  for (uint64_t at = offset * 1024; at < end;) {
    const auto bytes = static_cast<uint32_t>(end - at < kMaxBytes ? end - at : kMaxBytes);
    auto* words = reinterpret_cast<uint64_t*>(data_);
    if (writing) {
      for (uint32_t i = 0; i < bytes / 8; ++i) words[i] = mixed(seed + at + 8 * i);
    }
    if (!transfer(word, writing ? kWrite : kRead, at / kSectorBytes, bytes, !writing)) return;
    if (!writing) {
      for (uint32_t i = 0; i < bytes / 8; ++i) {
        if (words[i] == mixed(seed + at + 8 * i)) continue;
        Result(word, number_, false).text("reason", "differs").value("at", at + 8 * i).send();
        return;
      }
    }
    at += bytes;
  }
  Result(word, number_, true).value("kib", length).send();
}

void Block::zeros(uint64_t offset, uint64_t length) {
  const uint64_t end = (offset + length) * 1024;
  for (uint64_t at = offset * 1024; at < end;) {
    const auto bytes = static_cast<uint32_t>(end - at < kMaxBytes ? end - at : kMaxBytes);
    if (!transfer("zeros", kRead, at / kSectorBytes, bytes, true)) return;
    for (uint32_t i = 0; i < bytes; ++i) {
      if (data_[i] == 0) continue;
      Result("zeros", number_, false).text("reason", "differs").value("at", at + i).send();
      return;
    }
    at += bytes;
  }
  Result("zeros", number_, true).value("kib", length).send();
}

void Block::range(const char* word, uint32_t type, uint64_t offset, uint64_t length) {
  *reinterpret_cast<Range*>(data_) = {offset * kSectorsPerKib, static_cast<uint32_t>(length * kSectorsPerKib), 0};
  if (transfer(word, type, 0, sizeof(Range), false)) Result(word, number_, true).value("kib", length).send();
}

void Block::flush() {
  if (transfer("flush", kFlush, 0, 0, false)) Result("flush", number_, true).send();
}

void Block::identify() {
  constexpr uint32_t kIdBytes = 20;
  if (!transfer("id", kGetId, 0, kIdBytes, true)) return;
  const char* id = reinterpret_cast<const char*>(data_);
  size_t length = 0;
  while (length < kIdBytes && id[length] != '\0') ++length;
  Result("id", number_, true)
      .text("serial", id, length)
      .value("sectors", sectors_)
      .value("read-only", device_->has(kReadOnlyFeature) ? 1 : 0)
      .send();
}

void Block::rate(const char* word, bool writing, uint64_t count, uint64_t bytes, uint64_t depth) {
  if (depth == 0) depth = 1;
  if (bytes == 0 || bytes % kSectorBytes != 0 || depth > kMaxDepth || bytes * depth > kMaxBytes ||
      bytes / kSectorBytes > sectors_) {
    Result(word, number_, false).text("reason", "too-large").send();
    return;
  }
  const uint64_t began = bench_->life.clock.since_boot_ns();
  const uint64_t places = sectors_ * kSectorBytes / bytes;
  uint64_t sent = 0;
  uint64_t done = 0;
  const auto send = [&](uint32_t slot) {
    const uint64_t sector = sent++ % places * (bytes / kSectorBytes);
    submit(slot, writing ? kWrite : kRead, sector, data_ + slot * bytes, static_cast<uint32_t>(bytes), !writing, 1);
  };
  for (uint32_t slot = 0; slot < depth && sent < count; ++slot) send(slot);
  while (done < count) {
    uint32_t slot = 0;
    if (!wait_for(bench_->life, kTimeoutMs, [&] { return take(&slot); })) {
      Result(word, number_, false).text("reason", "timeout").value("done", done).send();
      return;
    }
    if (requests_[slot].status != 0) {
      Result(word, number_, false).text("reason", "status").value("status", requests_[slot].status).send();
      return;
    }
    ++done;
    if (sent < count) send(slot);
  }
  const uint64_t us = (bench_->life.clock.since_boot_ns() - began) / 1000;
  Result(word, number_, true).value("count", count).value("bytes", bytes).value("us", us).send();
}

}  // namespace canary
