#pragma once

#include <cstring>

#include "abi/volley_abi.h"

namespace volley::fuzz {

inline constexpr uint64_t kSampleMemory = 32ull << 20;
inline constexpr uint64_t kSampleDisk = 64 * 1024;
inline constexpr uint64_t kSampleKernelBytes = 8192;

// A configuration with one of each device, that is as it should be.
inline volley_config sample_config() {
  volley_config config{};
  config.magic = VOLLEY_CONFIG_MAGIC;
  config.abi_version = VOLLEY_ABI_VERSION;
  config.boot_protocol = VOLLEY_BOOT_FLAT;
  config.irqchip = VOLLEY_IRQCHIP_SPLIT;
  config.vcpus = 1;
  config.memory_bytes = kSampleMemory;
  config.kernel_size = kSampleKernelBytes;
  strcpy(config.id, "fuzz");
  config.device_count = 6;
  config.devices[0].type = VOLLEY_DEVICE_BLOCK;
  config.devices[0].size = kSampleDisk;
  config.devices[1].type = VOLLEY_DEVICE_NET;
  config.devices[1].mac[0] = 2;
  config.devices[2].type = VOLLEY_DEVICE_VSOCK;
  config.devices[2].guest_cid = 3;
  config.devices[3].type = VOLLEY_DEVICE_BALLOON;
  config.devices[4].type = VOLLEY_DEVICE_RNG;
  config.devices[5].type = VOLLEY_DEVICE_BLOCK;
  config.devices[5].size = kSampleDisk;
  config.devices[5].flags = VOLLEY_BLOCK_OVERLAY;
  return config;
}

}  // namespace volley::fuzz
