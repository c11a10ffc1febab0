#include "devices/small.h"

#include "devices/waiting.h"

namespace canary {
namespace {

constexpr uint64_t kTimeoutMs = 10'000;
constexpr uint64_t kPage = 4096;

bool await_one(const Bench& bench, Queue& queue, uint32_t* written) {
  uint64_t token = 0;
  return wait_for(bench.life, kTimeoutMs, [&] { return queue.take(&token, written); });
}

}  // namespace

bool Rng::start(const Bench& bench, Device* device) {
  bench_ = &bench;
  if (!device->negotiate(bench, 0) || !device->set_up(bench, 0, &queue_)) {
    Result("rng", 0, false).text("reason", "set-up").send();
    return false;
  }
  data_ = static_cast<uint8_t*>(bench.arena.take(kMaxBytes, 16));
  device->start();
  device_ = device;
  return true;
}

void Rng::read(uint64_t bytes) {
  uint8_t seen[256] = {};
  char shown[33] = {};
  const uint64_t began = bench_->life.clock.since_boot_ns();
  for (uint64_t done = 0; done < bytes;) {
    const auto wanted = static_cast<uint32_t>(bytes - done < kMaxBytes ? bytes - done : kMaxBytes);
    const Piece piece{data_, wanted, true};
    uint32_t written = 0;
    const bool added = queue_.add(&piece, 1, 0);
    queue_.kick();
    if (!added || !await_one(*bench_, queue_, &written) || written == 0 || written > wanted) {
      Result("rng", 0, false).text("reason", "no-bytes").value("done", done).send();
      return;
    }
    for (uint32_t i = 0; i < written; ++i) seen[data_[i]] = 1;
    for (uint32_t i = 0; done == 0 && i < 16 && i < written; ++i) {
      constexpr char kDigits[] = "0123456789abcdef";
      shown[2 * i] = kDigits[data_[i] >> 4];
      shown[2 * i + 1] = kDigits[data_[i] & 15];
    }
    done += written;
  }
  device_->acknowledge();
  uint64_t values = 0;
  for (const uint8_t value : seen) values += value;
  const uint64_t us = (bench_->life.clock.since_boot_ns() - began) / 1000;
  Result("rng", 0, true).value("bytes", bytes).text("first", shown).value("values", values).value("us", us).send();
}

bool Balloon::start(const Bench& bench, Device* device) {
  constexpr uint32_t kStatisticsFeature = 1;
  constexpr uint32_t kReportingFeature = 5;
  bench_ = &bench;
  constexpr uint64_t kWanted = 1ull << kStatisticsFeature | 1ull << kReportingFeature;
  bool ready =
      device->negotiate(bench, kWanted) && device->set_up(bench, 0, &inflate_) && device->set_up(bench, 1, &deflate_);
  // Queues of features that were not agreed on are left out.
  uint32_t next = 2;
  has_statistics_ = device->has(kStatisticsFeature);
  has_reporting_ = device->has(kReportingFeature);
  if (has_statistics_) ready = ready && device->set_up(bench, next++, &statistics_);
  if (has_reporting_) ready = ready && device->set_up(bench, next++, &reporting_);
  if (!ready) {
    Result("balloon", 0, false).text("reason", "set-up").send();
    return false;
  }
  numbers_ = bench.arena.take<uint32_t>(kBatch);
  tags_ = static_cast<uint8_t*>(bench.arena.take(64, 16));
  device->start();
  device_ = device;
  if (has_statistics_) offer_statistics();
  return true;
}

bool Balloon::move(Queue& queue, uint32_t pages, uint32_t first) {
  const uint64_t end = bench_->life.memory_bytes / kPage;
  for (uint32_t i = 0; i < pages; ++i) numbers_[i] = static_cast<uint32_t>(end - 1 - first - i);
  const Piece piece{numbers_, static_cast<uint32_t>(pages * sizeof(uint32_t)), false};
  uint32_t written = 0;
  const bool added = queue.add(&piece, 1, 0);
  queue.kick();
  return added && await_one(*bench_, queue, &written);
}

void Balloon::poll() {
  constexpr uint32_t kTarget = 0;
  constexpr uint32_t kActual = 4;
  constexpr uint64_t kKept = 4ull << 20;  // the canary's own
  if (device_ == nullptr) return;
  uint64_t token = 0;
  uint32_t written = 0;
  if (has_statistics_ && statistics_.take(&token, &written)) offer_statistics();
  const uint64_t most = (bench_->life.memory_bytes - kKept) / kPage;
  uint32_t target = device_->window().config32(kTarget);
  if (target > most) target = static_cast<uint32_t>(most);
  while (actual_ != target) {
    const bool inflating = actual_ < target;
    const uint32_t left = inflating ? target - actual_ : actual_ - target;
    const uint32_t pages = left < kBatch ? left : kBatch;
    const uint32_t first = inflating ? actual_ : actual_ - pages;
    if (!move(inflating ? inflate_ : deflate_, pages, first)) {
      Result("balloon", 0, false).text("reason", "timeout").value("pages", actual_).send();
      return;
    }
    actual_ = inflating ? actual_ + pages : actual_ - pages;
    device_->window().write(Window::kConfig + kActual, actual_);
  }
  device_->acknowledge();
  if (said_ == actual_) return;
  said_ = actual_;
  Result("balloon", 0, true).value("pages", actual_).send();
}

void Balloon::offer_statistics() {
  constexpr uint16_t kFree = 4;
  constexpr uint16_t kTotal = 5;
  constexpr uint16_t kAvailable = 6;
  constexpr size_t kEntry = 10;
  const uint64_t total = bench_->life.memory_bytes - actual_ * kPage;
  const struct {
    uint16_t tag;
    uint64_t value;
  } entries[] = {{kFree, total / 2}, {kTotal, total}, {kAvailable, total / 2 + 1}};
  uint8_t* at = tags_;
  for (const auto& entry : entries) {
    *reinterpret_cast<volatile uint16_t*>(at) = entry.tag;
    *reinterpret_cast<volatile uint64_t*>(at + 2) = entry.value;
    at += kEntry;
  }
  const Piece piece{tags_, static_cast<uint32_t>(at - tags_), false};
  statistics_.add(&piece, 1, 0);
  statistics_.kick();
}

void Balloon::report_free(uint64_t kib) {
  constexpr uint64_t kFrom = 4ull << 20;
  constexpr uint32_t kRange = 256 * 1024;
  if (!has_reporting_) {
    Result("freepages", 0, false).text("reason", "not-offered").send();
    return;
  }
  const uint64_t end = kFrom + kib * 1024;
  for (uint64_t at = kFrom; at < end; at += kRange) {
    const auto bytes = static_cast<uint32_t>(end - at < kRange ? end - at : kRange);
    const Piece piece{reinterpret_cast<void*>(at), bytes, true};
    uint32_t written = 0;
    const bool added = reporting_.add(&piece, 1, 0);
    reporting_.kick();
    if (!added || !await_one(*bench_, reporting_, &written)) {
      Result("freepages", 0, false).text("reason", "timeout").value("kib", (at - kFrom) / 1024).send();
      return;
    }
  }
  device_->acknowledge();
  Result("freepages", 0, true).value("kib", kib).send();
}

}  // namespace canary
