#include "balloon/balloon_device.h"

#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "balloon/balloon_statistics.h"
#include "base/clock.h"
#include "stats/page_file.h"

namespace volley {
namespace {

constexpr uint16_t kQueueSizes[] = {256, 256, 256, 256};
// Linux puts up to 256 page numbers into a request. Dropping pages takes time in which nobody else is served.
constexpr uint64_t kPagesPerRequest = 1024;
constexpr unsigned kRequestsPerTurn = 8;
constexpr uint64_t kNsPerMs = 1'000'000;

constexpr uint64_t bit(unsigned number) { return uint64_t{1} << number; }

}  // namespace

Status BalloonDevice::open(const DeviceContext& context) {
  const volley_device& config = context.config;
  if (config.size > context.memory.size()) {
    return Status::error("device %u is a balloon of %llu bytes, the guest has %llu", context.index,
                         static_cast<unsigned long long>(config.size),
                         static_cast<unsigned long long>(context.memory.size()));
  }
  memory_ = &context.memory;
  stats_ = &context.device_stats();
  reported_ = &context.stats.balloon;
  flags_ = config.flags;
  interval_ns_ = config.stats_interval_ms * kNsPerMs;
  target_ = static_cast<uint32_t>(config.size / kBalloonPage);
  publish(reported_->target, target_ * kBalloonPage);
  return timer_.create(context.loop);
}

uint32_t BalloonDevice::virtio_id() const { return VIRTIO_ID_BALLOON; }

uint64_t BalloonDevice::features() const {
  return (offers(VOLLEY_BALLOON_STATISTICS) ? bit(VIRTIO_BALLOON_F_STATS_VQ) : 0) |
         (offers(VOLLEY_BALLOON_DEFLATE_ON_OOM) ? bit(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) : 0) |
         (offers(VOLLEY_BALLOON_REPORTING) ? bit(VIRTIO_BALLOON_F_REPORTING) : 0);
}

std::span<const uint16_t> BalloonDevice::queue_sizes() const {
  const size_t count = 2u + offers(VOLLEY_BALLOON_STATISTICS) + offers(VOLLEY_BALLOON_REPORTING);
  return std::span(kQueueSizes).first(count);
}

void BalloonDevice::read_config(uint64_t offset, std::span<uint8_t> data) {
  const uint32_t config[] = {target_.load(std::memory_order_relaxed), actual_.load(std::memory_order_relaxed)};
  copy_config({reinterpret_cast<const uint8_t*>(config), sizeof(config)}, offset, data);
}

// The driver says how many pages the balloon holds. A hint: nothing is decided on it.
void BalloonDevice::write_config(uint64_t offset, std::span<const uint8_t> data) {
  if (offset != offsetof(virtio_balloon_config, actual) || data.size() != sizeof(uint32_t)) return;
  uint32_t actual;
  memcpy(&actual, data.data(), sizeof(actual));
  actual_.store(actual, std::memory_order_relaxed);
  publish(reported_->actual, actual * kBalloonPage);
}

void BalloonDevice::activate(VirtioHost& host, uint64_t negotiated_features) {
  host_ = &host;
  // Queues of features that the driver did not take are not left out but do not exist: those behind them move up.
  uint32_t next = kDeflate + 1;
  const bool statistics = (negotiated_features & bit(VIRTIO_BALLOON_F_STATS_VQ)) != 0;
  const bool reporting = (negotiated_features & bit(VIRTIO_BALLOON_F_REPORTING)) != 0;
  statistics_queue_ = statistics ? next++ : kNoQueue;
  reporting_queue_ = reporting ? next++ : kNoQueue;
  if (statistics && interval_ns_ != 0) ask_ns_ = monotonic_ns() + interval_ns_;
  schedule();
}

void BalloonDevice::reset() {
  host_ = nullptr;
  timer_.clear();
  more_ = 0;
  ask_ns_ = 0;
  holds_statistics_ = false;
  statistics_queue_ = reporting_queue_ = kNoQueue;
  actual_.store(0, std::memory_order_relaxed);
  publish(reported_->actual, 0);
}

void BalloonDevice::break_down() {
  VirtioHost* host = host_;
  count(stats_->errors);
  reset();
  host->needs_reset();
}

int BalloonDevice::command(const volley_message& message, UniqueFd&) {
  if (message.type != VOLLEY_CMD_SET_BALLOON) return ENOSYS;
  if (message.payload.bytes > memory_->size()) return EINVAL;
  target_.store(static_cast<uint32_t>(message.payload.bytes / kBalloonPage), std::memory_order_relaxed);
  publish(reported_->target, message.payload.bytes / kBalloonPage * kBalloonPage);
  if (host_ != nullptr) host_->config_changed();
  return 0;
}

int BalloonDevice::quiesce() {
  if (host_ != nullptr && holds_statistics_) {
    host_->queue(statistics_queue_).undo_pop();
    holds_statistics_ = false;
    more_ |= 1u << statistics_queue_;
    schedule();
  }
  return 0;
}

void BalloonDevice::save(std::span<uint8_t, kStateBytes> state) {
  const uint32_t words[] = {target_.load(std::memory_order_relaxed), actual_.load(std::memory_order_relaxed)};
  memcpy(state.data(), words, sizeof(words));
}

bool BalloonDevice::restore(std::span<const uint8_t, kStateBytes> state) {
  uint32_t words[2];
  memcpy(words, state.data(), sizeof(words));
  if (words[0] > memory_->size() / kBalloonPage) return false;
  target_.store(words[0], std::memory_order_relaxed);
  actual_.store(words[1], std::memory_order_relaxed);
  publish(reported_->target, words[0] * kBalloonPage);
  publish(reported_->actual, words[1] * kBalloonPage);
  return true;
}

void BalloonDevice::kicked(uint32_t queue) {
  if (host_ == nullptr) return;
  if (queue == kInflate) {
    drain<&BalloonDevice::inflate>(queue);
  } else if (queue == kDeflate) {
    drain<&BalloonDevice::deflate>(queue);
  } else if (queue == statistics_queue_) {
    take_statistics();
  } else if (queue == reporting_queue_) {
    drain<&BalloonDevice::report>(queue);
  }
  schedule();
}

void BalloonDevice::expired(uint64_t) {
  if (host_ == nullptr) return;
  for (uint32_t queue = 0, again = more_; again >> queue != 0; ++queue) {
    if ((again >> queue & 1) != 0) kicked(queue);
  }
  const uint64_t now = monotonic_ns();
  if (host_ != nullptr && ask_ns_ != 0 && ask_ns_ <= now) {
    ask_ns_ = now + interval_ns_;
    // The buffer goes back, which is the question; the answer is the buffer's return.
    if (holds_statistics_) {
      holds_statistics_ = false;
      host_->queue(statistics_queue_).push(statistics_head_, 0);
      host_->publish(statistics_queue_);
      take_statistics();
    }
  }
  schedule();
}

void BalloonDevice::schedule() {
  if (host_ == nullptr) return;
  if (more_ != 0) {
    timer_.set(1);
  } else if (ask_ns_ != 0) {
    timer_.set(ask_ns_);
  } else {
    timer_.clear();
  }
}

template <void (BalloonDevice::*kServe)()>
void BalloonDevice::drain(uint32_t number) {
  Virtqueue& queue = host_->queue(number);
  more_ &= ~(1u << number);
  queue.disable_kicks();
  for (unsigned requests = 0;; ++requests) {
    if (requests == kRequestsPerTurn) {
      more_ |= 1u << number;
      break;
    }
    const Virtqueue::Pop popped = queue.pop(&chain_);
    if (popped == Virtqueue::Pop::kBroken) {
      break_down();
      return;
    }
    if (popped == Virtqueue::Pop::kEmpty) {
      if (queue.enable_kicks()) continue;
      break;
    }
    (this->*kServe)();
    queue.push(chain_, 0);
  }
  host_->publish(number);
}

// The request is a list of page numbers that the guest will not use.
void BalloonDevice::inflate() {
  count(stats_->reads);
  const uint64_t limit = std::min<uint64_t>(chain_.readable_bytes, kPagesPerRequest * sizeof(uint32_t));
  if (chain_.readable_bytes % sizeof(uint32_t) != 0 || chain_.readable_bytes > limit) count(stats_->errors);
  for (uint64_t offset = 0; offset < limit; offset += sizeof(pages_)) {
    const size_t bytes =
        chain_.copy_out(offset, {reinterpret_cast<uint8_t*>(pages_), std::min<size_t>(sizeof(pages_), limit - offset)});
    const std::span<uint32_t> pages(pages_, bytes / sizeof(uint32_t));
    sort_pages(pages);
    std::span<const uint32_t> left = pages;
    for (PageRun run = take_run(&left); run.count != 0; run = take_run(&left)) {
      const std::span<uint8_t> range = memory_->range(run.first * kBalloonPage, run.count * kBalloonPage);
      if (!range.empty() && discard(range.data(), range.size())) {
        count(stats_->read_bytes, range.size());
      } else {
        count(stats_->errors);
      }
    }
  }
}

// The request is memory that is free at the moment: its buffers, which count as written.
void BalloonDevice::report() {
  count(stats_->writes);
  for (const GuestBuffer& buffer : chain_.writable()) {
    const uint64_t start = reinterpret_cast<uint64_t>(buffer.data);
    const uint64_t first = (start + kBalloonPage - 1) / kBalloonPage * kBalloonPage;
    const uint64_t end = (start + buffer.length) / kBalloonPage * kBalloonPage;
    if (first >= end) continue;
    if (discard(buffer.data + (first - start), end - first)) {
      count(stats_->write_bytes, end - first);
    } else {
      count(stats_->errors);
    }
  }
}

// Guest memory is private, so what is dropped here reads as zeros afterwards or, where it is mapped from a snapshot's
// file, as what the guest had there then: the host has the page back in either case, and the specification promises a
// guest nothing about its content.
bool BalloonDevice::discard(uint8_t* start, uint64_t length) {
  if (madvise(start, length, MADV_DONTNEED) != 0) return false;
  memory_->wrote(start, length);
  return true;
}

// Takes the guest's one buffer for statistics and keeps it until they are wanted again.
void BalloonDevice::take_statistics() {
  Virtqueue& queue = host_->queue(statistics_queue_);
  while (!holds_statistics_) {
    const Virtqueue::Pop popped = queue.pop(&chain_);
    if (popped == Virtqueue::Pop::kBroken) {
      break_down();
      return;
    }
    if (popped == Virtqueue::Pop::kEmpty) {
      if (queue.enable_kicks()) continue;
      return;
    }
    holds_statistics_ = true;
    statistics_head_ = chain_.head;
    read_statistics();
  }
}

void BalloonDevice::read_statistics() {
  BalloonStatistic values[32];
  const size_t bytes = chain_.copy_out(0, {reinterpret_cast<uint8_t*>(values), sizeof(values)});
  publish_statistics(*reported_, std::span(values).first(bytes / sizeof(BalloonStatistic)), monotonic_ns());
}

}  // namespace volley
