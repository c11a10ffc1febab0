#include "config/device_config.h"

#include <algorithm>
#include <cinttypes>
#include <cstring>

#include "limits/rate_limiter.h"

namespace volley {
namespace {

constexpr uint16_t kMinMtu = 68;
constexpr uint32_t kFirstGuestCid = 3;
constexpr uint32_t kAnyCid = 0xffffffff;

bool is_empty(const volley_limiter& limiter) {
  const volley_limiter none{};
  return memcmp(&limiter, &none, sizeof(none)) == 0;
}

template <typename T>
bool is_zero(const T& field) {
  const T zero{};
  return memcmp(&field, &zero, sizeof(zero)) == 0;
}

uint32_t known_flags(uint32_t type) {
  switch (type) {
    case VOLLEY_DEVICE_BLOCK:
      return VOLLEY_BLOCK_READ_ONLY | VOLLEY_BLOCK_OVERLAY | VOLLEY_BLOCK_REPLACED;
    case VOLLEY_DEVICE_BALLOON:
      return VOLLEY_BALLOON_DEFLATE_ON_OOM | VOLLEY_BALLOON_REPORTING | VOLLEY_BALLOON_STATISTICS;
    default:
      return 0;
  }
}

uint32_t limiter_count(uint32_t type) {
  switch (type) {
    case VOLLEY_DEVICE_BLOCK:
    case VOLLEY_DEVICE_RNG:
      return 1;
    case VOLLEY_DEVICE_NET:
      return 2;
    default:
      return 0;
  }
}

Status validate_block(uint32_t index, const volley_device& device) {
  if (device.size == 0 || device.size % kSectorBytes != 0 || device.size > kMaxDiskBytes) {
    return Status::error("config.devices[%u].size %" PRIu64 " must be a multiple of %" PRIu64 " up to %" PRIu64, index,
                         device.size, kSectorBytes, kMaxDiskBytes);
  }
  const uint32_t both = VOLLEY_BLOCK_READ_ONLY | VOLLEY_BLOCK_OVERLAY;
  if ((device.flags & both) == both) {
    return Status::error("config.devices[%u].flags ask for a read-only disk with an overlay for writes", index);
  }
  bool ended = false;
  for (const char c : device.serial) {
    if (c == '\0') {
      ended = true;
    } else if (ended || c < 0x20 || c > 0x7e) {
      return Status::error("config.devices[%u].serial has byte %#x, only printable ASCII padded with NULs may be used",
                           index, static_cast<unsigned char>(c));
    }
  }
  return Status::ok();
}

Status validate_net(uint32_t index, const volley_device& device) {
  if ((device.mac[0] & 1) != 0 || is_zero(device.mac)) {
    return Status::error("config.devices[%u].mac is a group address or zero, an interface needs one of its own", index);
  }
  if (device.mtu != 0 && device.mtu < kMinMtu) {
    return Status::error("config.devices[%u].mtu is %u, must be 0 (not offered) or at least %u", index, device.mtu,
                         kMinMtu);
  }
  return Status::ok();
}

Status validate_vsock(uint32_t index, const volley_device& device) {
  if (device.guest_cid < kFirstGuestCid || device.guest_cid == kAnyCid) {
    return Status::error("config.devices[%u].guest_cid is %u, must be %u or more and not 0xffffffff", index,
                         device.guest_cid, kFirstGuestCid);
  }
  return Status::ok();
}

Status validate_balloon(uint32_t index, const volley_device& device, uint64_t memory_bytes) {
  if (device.size % 4096 != 0 || device.size > memory_bytes) {
    return Status::error("config.devices[%u].size %" PRIu64 " must be a multiple of 4096 of at most %" PRIu64
                         " bytes of memory",
                         index, device.size, memory_bytes);
  }
  if (device.stats_interval_ms != 0 && (device.flags & VOLLEY_BALLOON_STATISTICS) == 0) {
    return Status::error("config.devices[%u].stats_interval_ms is set without the balloon's statistics flag", index);
  }
  return Status::ok();
}

Status validate_limits(uint32_t index, const volley_device& device) {
  const uint32_t limiters = limiter_count(device.type);
  uint32_t i = 0;
  for (const volley_limiter& limiter : device.limits) {
    if (i >= limiters && !is_empty(limiter)) {
      return Status::error("config.devices[%u].limits[%u] is set, a device of type %u has %u", index, i, device.type,
                           limiters);
    }
    if (!is_valid(limiter)) {
      return Status::error(
          "config.devices[%u].limits[%u] makes no sense: a bucket with a size needs a refill time, and "
          "neither may be larger than %" PRIu64 " tokens or %" PRIu64 " ms",
          index, i, kMaxBucketTokens, kMaxRefillMs);
    }
    ++i;
  }
  return Status::ok();
}

// Fields that belong to other types must be zero, so that a mix-up is noticed.
Status validate_unused(uint32_t index, const volley_device& device) {
  const bool block = device.type == VOLLEY_DEVICE_BLOCK;
  const bool net = device.type == VOLLEY_DEVICE_NET;
  const char* field = nullptr;
  if (device.reserved != 0) field = "reserved";
  if (!block && device.type != VOLLEY_DEVICE_BALLOON && device.size != 0) field = "size";
  if (!block && !is_zero(device.serial)) field = "serial";
  if (!net && !is_zero(device.mac)) field = "mac";
  if (!net && device.mtu != 0) field = "mtu";
  if (device.type != VOLLEY_DEVICE_VSOCK && device.guest_cid != 0) field = "guest_cid";
  if (device.type != VOLLEY_DEVICE_BALLOON && device.stats_interval_ms != 0) field = "stats_interval_ms";
  if (field == nullptr) return Status::ok();
  return Status::error("config.devices[%u].%s is set, a device of type %u has none", index, field, device.type);
}

Status validate_device(uint32_t index, const volley_device& device, const volley_config& config) {
  const uint32_t unknown = device.flags & ~known_flags(device.type);
  if (device.type == VOLLEY_DEVICE_NONE || device.type > VOLLEY_DEVICE_RNG) {
    return Status::error("config.devices[%u].type %u is unknown, use 1 (block) to %u (rng)", index, device.type,
                         VOLLEY_DEVICE_RNG);
  }
  if (unknown != 0) {
    return Status::error("config.devices[%u].flags %#x has bits that type %u does not know", index, device.flags,
                         device.type);
  }
  if (Status status = validate_unused(index, device); !status.is_ok()) return status;
  if (Status status = validate_limits(index, device); !status.is_ok()) return status;
  switch (device.type) {
    case VOLLEY_DEVICE_BLOCK:
      return validate_block(index, device);
    case VOLLEY_DEVICE_NET:
      return validate_net(index, device);
    case VOLLEY_DEVICE_VSOCK:
      return validate_vsock(index, device);
    case VOLLEY_DEVICE_BALLOON:
      return validate_balloon(index, device, config.memory_bytes);
    default:
      return Status::ok();
  }
}

bool is_single(uint32_t type) {
  return type == VOLLEY_DEVICE_VSOCK || type == VOLLEY_DEVICE_BALLOON || type == VOLLEY_DEVICE_RNG;
}

}  // namespace

Status validate_devices(const volley_config& config) {
  if (config.device_count > VOLLEY_MAX_DEVICES) {
    return Status::error("config.device_count is %u, at most %u fit", config.device_count, VOLLEY_MAX_DEVICES);
  }
  for (uint32_t i = 0; i < config.device_count; ++i) {
    const volley_device& device = config.devices[i];
    if (Status status = validate_device(i, device, config); !status.is_ok()) return status;
    for (uint32_t k = 0; k < i; ++k) {
      if (!is_single(device.type) || config.devices[k].type != device.type) continue;
      return Status::error("config.devices[%u] is a second device of type %u, there can be one", i, device.type);
    }
  }
  if (!is_valid(config.serial_limit)) {
    return Status::error("config.serial_limit makes no sense: a bucket with a size needs a refill time");
  }
  return Status::ok();
}

}  // namespace volley
