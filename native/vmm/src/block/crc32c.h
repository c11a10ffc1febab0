#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace volley {

// CRC-32C (Castagnoli) with the processor's own instruction, which every processor has that KVM runs on.
[[gnu::target("sse4.2")]] inline uint32_t crc32c(std::span<const uint8_t> bytes) {
  uint64_t crc = 0xffffffff;
  size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    uint64_t word;
    memcpy(&word, bytes.data() + at, sizeof(word));
    crc = __builtin_ia32_crc32di(crc, word);
  }
  auto rest = static_cast<uint32_t>(crc);
  for (; at < bytes.size(); ++at) rest = __builtin_ia32_crc32qi(rest, bytes[at]);
  return ~rest;
}

}  // namespace volley
