#include "net/net_device.h"

#include <linux/virtio_ids.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "net/net_features.h"
#include "stats/page_file.h"

namespace volley {
namespace {

constexpr uint16_t kQueueSizes[] = {256, 256};
constexpr uint16_t kDefaultMtu = 1500;
// A turn ends after so much, in either direction.
constexpr unsigned kFramesPerTurn = 128;
constexpr size_t kBytesPerTurn = 1024 * 1024;
// A limiter that is empty is looked at again after this at the soonest: many frames for one wake-up.
constexpr uint64_t kGateQuantumNs = 500'000;

constexpr uint64_t kFeatures = kNetChecksum | kNetGuestChecksum | kNetGuestTso4 | kNetGuestTso6 | kNetHostTso4 |
                               kNetHostTso6 | kNetMergeableBuffers | kNetMac | kNetStatus;

}  // namespace

Status NetDevice::open(const DeviceContext& context) {
  const volley_device& config = context.config;
  const int tap_fd = context.fds.find(device_role(context.index));
  if (tap_fd < 0) return Status::error("device %u is a net device and no tap was passed for it", context.index);
  memcpy(mac_, config.mac, sizeof(mac_));
  const uint8_t none[kMacBytes] = {};
  if ((mac_[0] & 1) != 0 || memcmp(mac_, none, sizeof(none)) == 0) {
    return Status::error("device %u has no MAC address of one station: the first byte must be even, not all zero",
                         context.index);
  }
  mtu_ = config.mtu;
  loop_ = &context.loop;
  stats_ = &context.device_stats();
  const uint64_t now = monotonic_ns();
  towards_guest_.limiter = RateLimiter(config.limits[0], now);
  from_guest_.limiter = RateLimiter(config.limits[1], now);
  if (Status status = tap_.adopt(tap_fd); !status.is_ok()) return status;
  return timer_.create(context.loop);
}

uint32_t NetDevice::virtio_id() const { return VIRTIO_ID_NET; }

uint64_t NetDevice::features() const { return mtu_ != 0 ? kFeatures | kNetMtu : kFeatures; }

std::span<const uint16_t> NetDevice::queue_sizes() const { return kQueueSizes; }

void NetDevice::read_config(uint64_t offset, std::span<uint8_t> data) {
  NetConfig config{};
  memcpy(config.mac, mac_, sizeof(config.mac));
  config.status = tap_gone_.load(std::memory_order_relaxed) ? 0 : kNetLinkUp;
  config.max_queue_pairs = 1;
  config.mtu = mtu_;
  copy_config({reinterpret_cast<const uint8_t*>(&config), sizeof(config)}, offset, data);
}

void NetDevice::activate(VirtioHost& host, uint64_t negotiated_features) {
  host_ = &host;
  features_ = negotiated_features;
  unsigned offloads = tap_offloads(features_);
  if (!tap_gone_ && !tap_.set_offloads(offloads)) offloads = 0;
  const bool large = has(kNetGuestTso4) || has(kNetGuestTso6);
  room_wanted_ = offloads != 0 && large ? kMaxOffloadFrame
                                        : kVnetHeaderBytes + kEthernetHeaderBytes + (mtu_ != 0 ? mtu_ : kDefaultMtu);
  host.queue(kReceive).disable_kicks();
  watch();
}

void NetDevice::reset() {
  if (host_ != nullptr && !tap_gone_) tap_.set_offloads(0);
  stop();
}

// Forgets everything that is under way; frames that wait in the tap go on waiting.
void NetDevice::stop() {
  host_ = nullptr;
  if (is_watched_) loop_->remove(tap_.fd(), on_tap_);
  is_watched_ = false;
  timer_.clear();
  pool_.forget();
  waiting_bytes_ = 0;
  expected_bytes_ = 1;
  towards_guest_.opens_ns = from_guest_.opens_ns = 0;
  receive_starved_ = receive_more_ = transmit_blocked_ = transmit_more_ = false;
}

void NetDevice::break_down() {
  VirtioHost* host = host_;
  count(stats_->errors);
  stop();
  host->needs_reset();
}

// The interface was deleted under us. The guest sees its link go down; what it sends is dropped.
void NetDevice::lose_tap() {
  if (is_watched_) loop_->remove(tap_.fd(), on_tap_);
  is_watched_ = false;
  tap_gone_ = true;
  transmit_more_ |= transmit_blocked_;
  transmit_blocked_ = false;
  count(stats_->errors);
  if (host_ != nullptr) host_->config_changed();
}

bool NetDevice::set_limit(uint32_t which, const volley_limiter& limiter) {
  if (which > 1) return false;
  Gate& gate = which == 0 ? towards_guest_ : from_guest_;
  const uint64_t now = monotonic_ns();
  gate.limiter = RateLimiter(limiter, now);
  // Who waits for the old one looks at the new one; by the timer, because the loop may be paused.
  if (gate.opens_ns != 0) gate.opens_ns = now;
  schedule();
  return true;
}

int NetDevice::quiesce() {
  if (host_ == nullptr) return 0;
  pool_.put_back(host_->queue(kReceive));
  // They are taken again by the next frame, or by the one that waits for more of them.
  if (waiting_bytes_ != 0) {
    receive_more_ = true;
    schedule();
  }
  return 0;
}

void NetDevice::kicked(uint32_t queue) {
  if (queue == kReceive) receive();
  if (queue == kTransmit) transmit();
  schedule();
}

void NetDevice::tap_ready(uint32_t events) {
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
    lose_tap();
  } else {
    if ((events & EPOLLIN) != 0) receive();
    if ((events & EPOLLOUT) != 0) {
      transmit_blocked_ = false;
      transmit();
    }
  }
  schedule();
}

void NetDevice::expired(uint64_t) {
  const uint64_t now = monotonic_ns();
  if (receive_more_ || (towards_guest_.opens_ns != 0 && towards_guest_.opens_ns <= now)) {
    towards_guest_.opens_ns = 0;
    receive();
  }
  if (transmit_more_ || (from_guest_.opens_ns != 0 && from_guest_.opens_ns <= now)) {
    from_guest_.opens_ns = 0;
    transmit();
  }
  schedule();
}

// Sets the one alarm for the earliest thing that waits for it.
void NetDevice::schedule() {
  uint64_t next = receive_more_ || transmit_more_ ? 1 : UINT64_MAX;
  if (towards_guest_.opens_ns != 0) next = std::min(next, towards_guest_.opens_ns);
  if (from_guest_.opens_ns != 0) next = std::min(next, from_guest_.opens_ns);
  if (next == UINT64_MAX) {
    timer_.clear();
  } else {
    timer_.set(next);
  }
}

// Watches the tap for what can be used now, and for nothing else: a flood that is not wanted costs nothing here.
void NetDevice::watch() {
  if (host_ == nullptr || tap_gone_) return;
  uint32_t events = 0;
  if (waiting_bytes_ == 0 && !receive_starved_ && towards_guest_.opens_ns == 0) events |= EPOLLIN;
  if (transmit_blocked_) events |= EPOLLOUT;
  if (is_watched_ && events == watched_events_) return;
  const Status status =
      is_watched_ ? loop_->change(tap_.fd(), events, on_tap_) : loop_->add(tap_.fd(), events, on_tap_);
  if (!status.is_ok()) {
    lose_tap();
    return;
  }
  is_watched_ = true;
  watched_events_ = events;
}

// True if a frame may pass. Its size is charged afterwards; debt is waited off before the next one.
bool NetDevice::may_pass(Gate& gate) {
  if (gate.limiter.is_unlimited()) return true;
  const uint64_t now = monotonic_ns();
  const uint64_t opens = gate.limiter.ready_at(1, 1, now);
  if (opens <= now) return true;
  gate.opens_ns = std::max(opens, now + kGateQuantumNs);
  count(stats_->throttled);
  return false;
}

// ---- Towards the guest.

void NetDevice::receive() {
  receive_more_ = false;
  if (host_ == nullptr || towards_guest_.opens_ns != 0) return;
  receive_starved_ = false;
  Virtqueue& queue = host_->queue(kReceive);
  const uint64_t bytes_before = stats_->read_bytes;
  for (unsigned frames = 0; frames < kFramesPerTurn && stats_->read_bytes - bytes_before < kBytesPerTurn; ++frames) {
    if (!receive_one(queue)) {
      if (host_ == nullptr) return;
      host_->publish(kReceive);
      watch();
      return;
    }
  }
  host_->publish(kReceive);
  // The tap tells of further frames by itself, but not of one that was taken already.
  receive_more_ = waiting_bytes_ != 0;
  watch();
}

// One frame, or one step towards it. False if nothing more can be done now.
bool NetDevice::receive_one(Virtqueue& queue) {
  return waiting_bytes_ != 0 ? deliver_waiting(queue) : read_frame(queue);
}

bool NetDevice::read_frame(Virtqueue& queue) {
  if (tap_gone_ || !may_pass(towards_guest_)) return false;
  const bool single = !has(kNetMergeableBuffers);
  uint64_t refused = 0;
  const ReceivePool::Fill filled = pool_.fill(queue, &chain_, room_wanted_, single, &refused);
  count(stats_->errors, refused);
  if (filled == ReceivePool::Fill::kBroken) {
    break_down();
    return false;
  }
  if (pool_.is_empty()) return filled == ReceivePool::Fill::kFull || await_buffers(queue);

  // With room for any frame it is read in place, into as much of it as the last one took: frames come in runs of one
  // size. With less it is read aside, since the tap would cut it short.
  const bool in_place = pool_.room() >= room_wanted_;
  const iovec aside{frame_, sizeof(frame_)};
  const std::span<const iovec> parts =
      in_place ? pool_.front_and(expected_bytes_, frame_) : std::span<const iovec>(&aside, 1);
  const Tap::Result got = tap_.read(parts.data(), parts.size());
  if (got.outcome == Tap::Outcome::kAgain) return false;
  if (got.outcome != Tap::Outcome::kDone) {
    lose_tap();
    return false;
  }
  if (got.bytes < sizeof(FrameStart)) {
    count(stats_->errors);
    return true;
  }
  towards_guest_.limiter.charge(got.bytes - kVnetHeaderBytes, 1, monotonic_ns());
  expected_bytes_ = got.bytes;
  if (!in_place) {
    waiting_bytes_ = got.bytes;
    return deliver_waiting(queue);
  }
  if (got.bytes > pool_.room()) {
    count(stats_->errors);  // larger than announced, for buffers that are smaller still
    return true;
  }
  pool_.unspill(frame_, got.bytes);
  pool_.give_back(queue, got.bytes);
  count_received(got.bytes);
  return true;
}

// Gives the guest the frame that was read aside, as soon as there is room for all of it.
bool NetDevice::deliver_waiting(Virtqueue& queue) {
  if (pool_.room() < waiting_bytes_) {
    const bool single = !has(kNetMergeableBuffers);
    uint64_t refused = 0;
    const ReceivePool::Fill filled = pool_.fill(queue, &chain_, waiting_bytes_, single, &refused);
    count(stats_->errors, refused);
    if (filled == ReceivePool::Fill::kBroken) {
      break_down();
      return false;
    }
    if (filled == ReceivePool::Fill::kShort) return await_buffers(queue);
  }
  if (pool_.room() >= waiting_bytes_) {
    pool_.write({frame_, waiting_bytes_});
    pool_.give_back(queue, waiting_bytes_);
    count_received(waiting_bytes_);
  } else {
    count(stats_->errors);  // no buffer of this driver will ever hold it
  }
  waiting_bytes_ = 0;
  return true;
}

// True if there are new buffers after all; otherwise the driver's kick is waited for.
bool NetDevice::await_buffers(Virtqueue& queue) {
  if (queue.enable_kicks()) {
    queue.disable_kicks();
    return true;
  }
  receive_starved_ = true;
  return false;
}

void NetDevice::count_received(size_t bytes) {
  count(stats_->reads);
  count(stats_->read_bytes, bytes - kVnetHeaderBytes);
}

// ---- From the guest.

void NetDevice::transmit() {
  transmit_more_ = false;
  if (host_ == nullptr || from_guest_.opens_ns != 0 || transmit_blocked_) return;
  Virtqueue& queue = host_->queue(kTransmit);
  queue.disable_kicks();
  const uint64_t bytes_before = stats_->write_bytes;
  unsigned frames = 0;
  while (transmit_one(queue)) {
    if (++frames < kFramesPerTurn && stats_->write_bytes - bytes_before < kBytesPerTurn) continue;
    transmit_more_ = true;
    break;
  }
  if (host_ == nullptr) return;
  host_->publish(kTransmit);
  watch();
}

// Takes one frame off the queue. False if there is none, or it has to wait: then it is on the queue again.
bool NetDevice::transmit_one(Virtqueue& queue) {
  if (!tap_gone_ && !may_pass(from_guest_)) return false;
  const Virtqueue::Pop popped = queue.pop(&chain_);
  if (popped == Virtqueue::Pop::kBroken) {
    break_down();
    return false;
  }
  if (popped == Virtqueue::Pop::kEmpty) {
    if (!queue.enable_kicks()) return false;
    queue.disable_kicks();
    return true;
  }
  size_t bytes = 0;
  const Tap::Outcome outcome = send(&bytes);
  if (outcome == Tap::Outcome::kAgain) {
    queue.undo_pop();
    transmit_blocked_ = true;
    return false;
  }
  // Frames that are dropped are paid for too: a flood of broken ones is limited as any other.
  from_guest_.limiter.charge(bytes, 1, monotonic_ns());
  if (outcome == Tap::Outcome::kDone) {
    count(stats_->writes);
    count(stats_->write_bytes, bytes);
  } else {
    count(stats_->errors);
  }
  queue.push(chain_, 0);
  if (outcome == Tap::Outcome::kGone && !tap_gone_) lose_tap();
  return true;
}

// Sends the frame in chain_ if it may leave; kFailed if not. `bytes` is its size without the header.
Tap::Outcome NetDevice::send(size_t* bytes) {
  FrameStart start;
  if (chain_.copy_out(0, {reinterpret_cast<uint8_t*>(&start), sizeof(start)}) != sizeof(start)) {
    return Tap::Outcome::kFailed;
  }
  const uint64_t frame_bytes = chain_.readable_bytes - kVnetHeaderBytes;
  *bytes = std::min<uint64_t>(frame_bytes, kMaxOffloadFrame);
  if (tap_gone_) return Tap::Outcome::kGone;
  VnetHeader header = start.header;
  if (!prepare_outgoing(header, frame_bytes, features_)) return Tap::Outcome::kFailed;
  start.header = header;
  if (memcmp(start.source, mac_, sizeof(mac_)) != 0) return Tap::Outcome::kFailed;
  outgoing_[0] = {&start, sizeof(start)};
  const size_t parts = slice(chain_.readable(), sizeof(start), frame_bytes, std::span(outgoing_).subspan(1));
  return tap_.write(outgoing_, 1 + parts).outcome;
}

}  // namespace volley
