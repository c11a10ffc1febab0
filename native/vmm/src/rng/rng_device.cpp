#include "rng/rng_device.h"

#include <linux/virtio_ids.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>

#include "base/clock.h"
#include "stats/page_file.h"

namespace volley {
namespace {

constexpr uint16_t kQueueSizes[] = {64};

// How many bytes were filled: all, unless the kernel has no random numbers.
size_t fill_random(uint8_t* to, size_t length) {
  size_t done = 0;
  while (done < length) {
    const ssize_t got = getrandom(to + done, length - done, 0);
    if (got > 0) {
      done += static_cast<size_t>(got);
    } else if (errno != EINTR) {
      break;
    }
  }
  return done;
}

}  // namespace

Status RngDevice::open(const DeviceContext& context) {
  stats_ = &context.device_stats();
  limiter_ = RateLimiter(context.config.limits[0], monotonic_ns());
  return timer_.create(context.loop);
}

uint32_t RngDevice::virtio_id() const { return VIRTIO_ID_RNG; }

std::span<const uint16_t> RngDevice::queue_sizes() const { return kQueueSizes; }

void RngDevice::reset() {
  host_ = nullptr;
  timer_.clear();
}

void RngDevice::kicked(uint32_t) {
  // While the timer is set it decides when to go on.
  if (host_ == nullptr || timer_.due_ns() != 0) return;
  Virtqueue& queue = host_->queue(0);
  queue.disable_kicks();
  uint32_t served = 0;
  while (served < kRequestsPerTurn && serve_one(queue)) ++served;
  if (queue.is_broken()) {
    host_->needs_reset();
    return;
  }
  host_->publish(0);
  if (served == kRequestsPerTurn) timer_.set(monotonic_ns());
}

// False if there is nothing to do, or not yet.
bool RngDevice::serve_one(Virtqueue& queue) {
  Virtqueue::Pop popped = queue.pop(&chain_);
  if (popped == Virtqueue::Pop::kEmpty && queue.enable_kicks()) popped = queue.pop(&chain_);
  if (popped != Virtqueue::Pop::kChain) return false;
  const uint64_t wanted = std::min<uint64_t>(chain_.writable_bytes, kMaxRequest);
  const uint64_t now = limiter_.is_unlimited() ? 0 : monotonic_ns();
  if (!limiter_.take(wanted, 1, now)) {
    queue.undo_pop();
    count(stats_->throttled);
    timer_.set(limiter_.ready_at(wanted, 1, now));
    return false;
  }
  queue.push(chain_, fill());
  return true;
}

uint32_t RngDevice::fill() {
  if (chain_.writable_count == 0 || chain_.readable_count != 0) count(stats_->errors);
  size_t room = kMaxRequest;
  uint32_t filled = 0;
  for (const GuestBuffer& buffer : chain_.writable()) {
    const size_t part = std::min(buffer.length, room);
    const size_t done = fill_random(buffer.data, part);
    filled += static_cast<uint32_t>(done);
    room -= part;
    if (done < part) count(stats_->errors);
    if (done < part || room == 0) break;
  }
  count(stats_->reads);
  count(stats_->read_bytes, filled);
  return filled;
}

void RngDevice::expired(uint64_t) { kicked(0); }

bool RngDevice::set_limit(uint32_t which, const volley_limiter& limiter) {
  if (which != 0) return false;
  const uint64_t now = monotonic_ns();
  limiter_ = RateLimiter(limiter, now);
  if (timer_.due_ns() != 0) timer_.set(now);
  return true;
}

}  // namespace volley
