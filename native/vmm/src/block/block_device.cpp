#include "block/block_device.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>

#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "config/device_config.h"
#include "stats/page_file.h"

namespace volley {
namespace {

constexpr uint16_t kQueueSizes[] = {256};

constexpr uint64_t bit(unsigned number) { return 1ull << number; }
constexpr uint64_t kReadOnly = bit(VIRTIO_BLK_F_RO);
constexpr uint64_t kFlush = bit(VIRTIO_BLK_F_FLUSH);
constexpr uint64_t kDiscard = bit(VIRTIO_BLK_F_DISCARD);
constexpr uint64_t kWriteZeroes = bit(VIRTIO_BLK_F_WRITE_ZEROES);
constexpr uint64_t kAlways = bit(VIRTIO_BLK_F_SEG_MAX) | bit(VIRTIO_BLK_F_BLK_SIZE);

constexpr uint32_t kSegmentsMax = Chain::kMaxBuffers - 2;  // beside header and status
constexpr uint32_t kRangesMax = 16;                        // of one discard or write-zeroes request
constexpr uint32_t kDiscardSectorsMax = (1u << 30) / kSectorBytes;
// The host may have to write them out: as much as a large write.
constexpr uint32_t kZeroSectorsMax = (32u << 20) / kSectorBytes;
constexpr uint32_t kDiscardAlignment = 4096 / kSectorBytes;

constexpr uint64_t kHeaderBytes = sizeof(virtio_blk_outhdr);
constexpr uint64_t kStatusBytes = 1;

// A turn ends after so many requests or so much time, and what is done is shown to the driver at least this often.
constexpr uint32_t kRequestsPerTurn = 64;
constexpr uint64_t kTurnNs = 20'000'000;
constexpr uint64_t kPublishNs = 50'000;

}  // namespace

Status BlockDevice::open(const DeviceContext& context) {
  const volley_device& config = context.config;
  stats_ = &context.device_stats();
  limiter_ = RateLimiter(config.limits[0], monotonic_ns());
  sectors_ = config.size / kSectorBytes;
  read_only_ = (config.flags & VOLLEY_BLOCK_READ_ONLY) != 0;
  memcpy(serial_, config.serial, sizeof(serial_));
  const int fd = context.fds.find(device_role(context.index));
  Status status = Status::ok();
  if ((config.flags & VOLLEY_BLOCK_OVERLAY) != 0) {
    status = overlay_.open(fd, context.fds.find(overlay_role(context.index)), config.size, context.index);
    image_ = &overlay_;
  } else {
    status = raw_.open(fd, config.size, read_only_, context.index);
    image_ = &raw_;
  }
  return status.is_ok() ? timer_.create(context.loop) : status;
}

uint32_t BlockDevice::virtio_id() const { return VIRTIO_ID_BLOCK; }

uint64_t BlockDevice::features() const { return kAlways | (read_only_ ? kReadOnly : kFlush | kDiscard | kWriteZeroes); }

std::span<const uint16_t> BlockDevice::queue_sizes() const { return kQueueSizes; }

void BlockDevice::read_config(uint64_t offset, std::span<uint8_t> data) {
  virtio_blk_config config{};
  config.capacity = sectors_;
  config.seg_max = kSegmentsMax;
  config.blk_size = kSectorBytes;
  if (!read_only_) {
    config.max_discard_sectors = kDiscardSectorsMax;
    config.max_discard_seg = kRangesMax;
    config.discard_sector_alignment = kDiscardAlignment;
    config.max_write_zeroes_sectors = kZeroSectorsMax;
    config.max_write_zeroes_seg = kRangesMax;
    config.write_zeroes_may_unmap = 1;
  }
  copy_config({reinterpret_cast<const uint8_t*>(&config), sizeof(config)}, offset, data);
}

void BlockDevice::activate(VirtioHost& host, uint64_t negotiated_features) {
  host_ = &host;
  features_ = negotiated_features;
}

void BlockDevice::reset() {
  host_ = nullptr;
  timer_.clear();
}

void BlockDevice::finish() {
  // A raw file's bytes are the kernel's to keep now. An overlay's bitmap is not in the file yet.
  if (image_ == &overlay_ && overlay_.flush() != 0) count(stats_->errors);
}

bool BlockDevice::set_limit(uint32_t which, const volley_limiter& limiter) {
  if (which != 0) return false;
  const uint64_t now = monotonic_ns();
  limiter_ = RateLimiter(limiter, now);
  if (timer_.due_ns() != 0) timer_.set(now);
  return true;
}

void BlockDevice::expired(uint64_t) { kicked(0); }

void BlockDevice::kicked(uint32_t) {
  // While the timer is set it decides when to go on.
  if (host_ == nullptr || timer_.due_ns() != 0) return;
  Virtqueue& queue = host_->queue(0);
  queue.disable_kicks();
  const uint64_t start = monotonic_ns();
  published_ns_ = start;
  uint32_t served = 0;
  bool more = true;
  while (more && served < kRequestsPerTurn) {
    more = serve_one(queue);
    ++served;
    const uint64_t now = monotonic_ns();
    if (now - published_ns_ > kPublishNs) {
      host_->publish(0);
      published_ns_ = now;
    }
    if (now - start > kTurnNs) break;
  }
  if (queue.is_broken()) {
    host_->needs_reset();
    return;
  }
  host_->publish(0);
  if (more) timer_.set(monotonic_ns());
}

// False if there is nothing to do, or not yet.
bool BlockDevice::serve_one(Virtqueue& queue) {
  Virtqueue::Pop popped = queue.pop(&chain_);
  if (popped == Virtqueue::Pop::kEmpty && queue.enable_kicks()) popped = queue.pop(&chain_);
  if (popped != Virtqueue::Pop::kChain) return false;
  Request request;
  if (!parse(&request)) {
    // No room even for saying that it was wrong.
    queue.mark_broken();
    return false;
  }
  if (!may_pass(queue, request)) return false;
  const uint8_t status = perform(request);
  if (status != VIRTIO_BLK_S_OK) count(stats_->errors);
  chain_.copy_in(chain_.writable_bytes - kStatusBytes, {&status, kStatusBytes});
  const bool filled =
      status == VIRTIO_BLK_S_OK && (request.type == VIRTIO_BLK_T_IN || request.type == VIRTIO_BLK_T_GET_ID);
  queue.push(chain_, static_cast<uint32_t>((filled ? request.data_bytes : 0) + kStatusBytes));
  return true;
}

bool BlockDevice::parse(Request* request) const {
  virtio_blk_outhdr header;
  if (chain_.writable_bytes < kStatusBytes) return false;
  if (chain_.copy_out(0, {reinterpret_cast<uint8_t*>(&header), sizeof(header)}) != sizeof(header)) return false;
  request->type = header.type;
  request->sector = header.sector;
  const bool from_guest = chain_.readable_bytes > kHeaderBytes;
  switch (header.type) {
    case VIRTIO_BLK_T_IN:
      request->data_bytes = chain_.writable_bytes - kStatusBytes;
      break;
    case VIRTIO_BLK_T_GET_ID:
      request->data_bytes = std::min<uint64_t>(chain_.writable_bytes - kStatusBytes, VIRTIO_BLK_ID_BYTES);
      break;
    default:
      request->data_bytes = from_guest ? chain_.readable_bytes - kHeaderBytes : 0;
      break;
  }
  return true;
}

bool BlockDevice::may_pass(Virtqueue& queue, const Request& request) {
  if (limiter_.is_unlimited()) return true;
  const bool moves_data = request.type == VIRTIO_BLK_T_IN || request.type == VIRTIO_BLK_T_OUT;
  // What is out of range will be refused, and costs no more than the disk has.
  const uint64_t bytes = moves_data ? std::min(request.data_bytes, sectors_ * kSectorBytes) : 0;
  const uint64_t now = monotonic_ns();
  if (limiter_.take(bytes, 1, now)) return true;
  queue.undo_pop();
  count(stats_->throttled);
  timer_.set(limiter_.ready_at(bytes, 1, now));
  return false;
}

bool BlockDevice::is_inside(uint64_t sector, uint64_t bytes) const {
  return bytes % kSectorBytes == 0 && sector <= sectors_ && bytes / kSectorBytes <= sectors_ - sector;
}

uint8_t BlockDevice::outcome(int error) const { return error == 0 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR; }

uint8_t BlockDevice::perform(const Request& request) {
  switch (request.type) {
    case VIRTIO_BLK_T_IN:
      return read(request);
    case VIRTIO_BLK_T_OUT:
      return write(request);
    case VIRTIO_BLK_T_FLUSH:
      return flush();
    case VIRTIO_BLK_T_GET_ID:
      return identify(request);
    case VIRTIO_BLK_T_DISCARD:
      return (features_ & kDiscard) != 0 ? clear(request) : VIRTIO_BLK_S_UNSUPP;
    case VIRTIO_BLK_T_WRITE_ZEROES:
      return (features_ & kWriteZeroes) != 0 ? clear(request) : VIRTIO_BLK_S_UNSUPP;
    default:
      return VIRTIO_BLK_S_UNSUPP;
  }
}

uint8_t BlockDevice::read(const Request& request) {
  if (!is_inside(request.sector, request.data_bytes)) return VIRTIO_BLK_S_IOERR;
  const GuestData to{chain_.writable(), 0, request.data_bytes};
  const uint8_t status = outcome(image_->read(request.sector * kSectorBytes, to));
  count(stats_->reads);
  if (status == VIRTIO_BLK_S_OK) count(stats_->read_bytes, request.data_bytes);
  return status;
}

uint8_t BlockDevice::write(const Request& request) {
  if (read_only_ || !is_inside(request.sector, request.data_bytes)) return VIRTIO_BLK_S_IOERR;
  const GuestData from{chain_.readable(), kHeaderBytes, request.data_bytes};
  const uint8_t status = write_through(image_->write(request.sector * kSectorBytes, from));
  count(stats_->writes);
  if (status == VIRTIO_BLK_S_OK) count(stats_->write_bytes, request.data_bytes);
  return status;
}

// A driver that did not take the flush feature relies on each write being safe when it is done.
uint8_t BlockDevice::write_through(int error) {
  if (error == 0 && (features_ & kFlush) == 0) error = image_->flush();
  return outcome(error);
}

uint8_t BlockDevice::flush() {
  count(stats_->flushes);
  return outcome(image_->flush());
}

uint8_t BlockDevice::identify(const Request& request) {
  chain_.copy_in(0, {reinterpret_cast<const uint8_t*>(serial_), request.data_bytes});
  return VIRTIO_BLK_S_OK;
}

// Discard and write-zeroes: ranges one behind the other, each of them copied out before it is looked at.
uint8_t BlockDevice::clear(const Request& request) {
  const bool zeroes = request.type == VIRTIO_BLK_T_WRITE_ZEROES;
  const uint64_t bytes = request.data_bytes;
  if (read_only_ || bytes == 0) return VIRTIO_BLK_S_IOERR;
  if (bytes % sizeof(virtio_blk_discard_write_zeroes) != 0) return VIRTIO_BLK_S_IOERR;
  if (bytes / sizeof(virtio_blk_discard_write_zeroes) > kRangesMax) return VIRTIO_BLK_S_IOERR;
  for (uint64_t at = 0; at < bytes; at += sizeof(virtio_blk_discard_write_zeroes)) {
    virtio_blk_discard_write_zeroes range;
    chain_.copy_out(kHeaderBytes + at, {reinterpret_cast<uint8_t*>(&range), sizeof(range)});
    const bool unmap = (range.flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) != 0;
    const uint32_t known = zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
    if ((range.flags & ~known) != 0) return VIRTIO_BLK_S_UNSUPP;
    const uint64_t length = range.num_sectors * kSectorBytes;
    if (range.num_sectors > (zeroes ? kZeroSectorsMax : kDiscardSectorsMax)) return VIRTIO_BLK_S_IOERR;
    if (!is_inside(range.sector, length)) return VIRTIO_BLK_S_IOERR;
    if (length == 0) continue;
    const uint64_t offset = range.sector * kSectorBytes;
    const int error = zeroes ? image_->write_zeroes(offset, length, unmap) : image_->discard(offset, length);
    const uint8_t status = zeroes ? write_through(error) : outcome(error);
    if (status != VIRTIO_BLK_S_OK) return status;
  }
  return VIRTIO_BLK_S_OK;
}

}  // namespace volley
