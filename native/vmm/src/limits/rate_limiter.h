#pragma once

#include <cstdint>

#include "abi/volley_abi.h"

namespace volley {

// A token bucket (volley_bucket says how it behaves). Pure: the caller brings the time, which must not go back.
class TokenBucket {
 public:
  TokenBucket() = default;
  TokenBucket(const volley_bucket& shape, uint64_t now_ns);

  bool is_unlimited() const { return shape_.size == 0; }
  // Whether take(tokens) would succeed.
  [[nodiscard]] bool can_take(uint64_t tokens, uint64_t now_ns);
  // Takes `tokens` and returns true, or takes nothing and returns false.
  [[nodiscard]] bool take(uint64_t tokens, uint64_t now_ns);
  // Takes `tokens` even if that leaves a debt: for work whose size is only known when it is done.
  void charge(uint64_t tokens, uint64_t now_ns);
  // When take(tokens) can succeed; `now_ns` if it can now.
  uint64_t ready_at(uint64_t tokens, uint64_t now_ns);

 private:
  void refill(uint64_t now_ns);
  uint64_t needed(uint64_t tokens) const;
  void spend(uint64_t tokens);

  volley_bucket shape_{};
  uint64_t tokens_ = 0;
  uint64_t burst_ = 0;
  uint64_t debt_ = 0;
  uint64_t refilled_ns_ = 0;
  uint64_t carry_ = 0;  // tokens * ns of a refill that make no whole token yet
};

// Bytes and operations together: both buckets pay, or neither.
class RateLimiter {
 public:
  RateLimiter() = default;
  RateLimiter(const volley_limiter& shape, uint64_t now_ns)
      : bytes_(shape.bytes, now_ns), operations_(shape.operations, now_ns) {}

  bool is_unlimited() const { return bytes_.is_unlimited() && operations_.is_unlimited(); }
  [[nodiscard]] bool take(uint64_t bytes, uint64_t operations, uint64_t now_ns);
  void charge(uint64_t bytes, uint64_t operations, uint64_t now_ns);
  uint64_t ready_at(uint64_t bytes, uint64_t operations, uint64_t now_ns);

 private:
  TokenBucket bytes_;
  TokenBucket operations_;
};

inline constexpr uint64_t kMaxBucketTokens = 1ull << 50;
inline constexpr uint64_t kMaxRefillMs = 7ull * 24 * 3600 * 1000;

// False if a bucket makes no sense: a size without refill time, a burst or refill time without size, or more than the
// limits above.
[[nodiscard]] bool is_valid(const volley_limiter& shape);

}  // namespace volley
