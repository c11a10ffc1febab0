#pragma once

#include <cstdint>
#include <span>

#if defined(__SANITIZE_ADDRESS__)
#define VOLLEY_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define VOLLEY_ASAN 1
#endif
#endif

#if defined(VOLLEY_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace volley {

// Where the VMM gives out parts of one mapping by itself, it tells AddressSanitizer which are taken, so that running
// over the end of one is found as it would be on a heap. Nothing at all without the sanitizer.
inline void mark_free([[maybe_unused]] std::span<uint8_t> part) {
#if defined(VOLLEY_ASAN)
  __asan_poison_memory_region(part.data(), part.size());
#endif
}

inline void mark_taken([[maybe_unused]] std::span<uint8_t> part) {
#if defined(VOLLEY_ASAN)
  __asan_unpoison_memory_region(part.data(), part.size());
#endif
}

}  // namespace volley
