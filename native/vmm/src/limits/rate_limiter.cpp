#include "limits/rate_limiter.h"

#include <algorithm>

namespace volley {
namespace {

// size * elapsed ns does not fit into 64 bits.
__extension__ typedef unsigned __int128 Wide;

constexpr uint64_t kNsPerMs = 1'000'000;

bool is_valid_bucket(const volley_bucket& bucket) {
  if (bucket.size == 0) return bucket.burst == 0 && bucket.refill_ms == 0;
  return bucket.size <= kMaxBucketTokens && bucket.burst <= kMaxBucketTokens && bucket.refill_ms > 0 &&
         bucket.refill_ms <= kMaxRefillMs;
}

}  // namespace

TokenBucket::TokenBucket(const volley_bucket& shape, uint64_t now_ns)
    : shape_(shape), tokens_(shape.size), burst_(shape.burst), refilled_ns_(now_ns) {}

void TokenBucket::refill(uint64_t now_ns) {
  if (now_ns <= refilled_ns_) return;
  const uint64_t elapsed = now_ns - refilled_ns_;
  refilled_ns_ = now_ns;
  if (tokens_ == shape_.size && debt_ == 0) {
    carry_ = 0;
    return;
  }
  const uint64_t refill_ns = shape_.refill_ms * kNsPerMs;
  const Wide earned = static_cast<Wide>(shape_.size) * elapsed + carry_;
  const Wide whole = earned / refill_ns;
  const uint64_t wanted = debt_ + (shape_.size - tokens_);
  if (whole >= wanted) {
    debt_ = 0;
    tokens_ = shape_.size;
    carry_ = 0;
    return;
  }
  const uint64_t got = static_cast<uint64_t>(whole);
  carry_ = static_cast<uint64_t>(earned % refill_ns);
  const uint64_t repaid = std::min(got, debt_);
  debt_ -= repaid;
  tokens_ += got - repaid;
}

// How many tokens there must be, beside the burst and without debt, for take(tokens): all of a full bucket is enough
// for everything.
uint64_t TokenBucket::needed(uint64_t tokens) const {
  return std::min(tokens > burst_ ? tokens - burst_ : 0, shape_.size);
}

void TokenBucket::spend(uint64_t tokens) {
  const uint64_t from_burst = std::min(tokens, burst_);
  burst_ -= from_burst;
  tokens -= from_burst;
  const uint64_t from_bucket = std::min(tokens, tokens_);
  tokens_ -= from_bucket;
  debt_ += std::min(tokens - from_bucket, kMaxBucketTokens - std::min(debt_, kMaxBucketTokens));
}

bool TokenBucket::can_take(uint64_t tokens, uint64_t now_ns) {
  if (is_unlimited()) return true;
  refill(now_ns);
  return tokens_ >= needed(tokens);
}

bool TokenBucket::take(uint64_t tokens, uint64_t now_ns) {
  if (!can_take(tokens, now_ns)) return false;
  charge(tokens, now_ns);
  return true;
}

void TokenBucket::charge(uint64_t tokens, uint64_t now_ns) {
  if (is_unlimited()) return;
  refill(now_ns);
  spend(tokens);
}

uint64_t TokenBucket::ready_at(uint64_t tokens, uint64_t now_ns) {
  if (can_take(tokens, now_ns)) return now_ns;
  const uint64_t missing = debt_ + needed(tokens) - tokens_;
  const Wide work = static_cast<Wide>(missing) * (shape_.refill_ms * kNsPerMs) - carry_;
  // A large debt of a small bucket takes longer than there is time.
  const Wide wait = (work + shape_.size - 1) / shape_.size;
  const uint64_t longest = UINT64_MAX - refilled_ns_;
  return refilled_ns_ + (wait < longest ? static_cast<uint64_t>(wait) : longest);
}

bool RateLimiter::take(uint64_t bytes, uint64_t operations, uint64_t now_ns) {
  if (!bytes_.can_take(bytes, now_ns) || !operations_.can_take(operations, now_ns)) return false;
  charge(bytes, operations, now_ns);
  return true;
}

void RateLimiter::charge(uint64_t bytes, uint64_t operations, uint64_t now_ns) {
  bytes_.charge(bytes, now_ns);
  operations_.charge(operations, now_ns);
}

uint64_t RateLimiter::ready_at(uint64_t bytes, uint64_t operations, uint64_t now_ns) {
  return std::max(bytes_.ready_at(bytes, now_ns), operations_.ready_at(operations, now_ns));
}

bool is_valid(const volley_limiter& shape) { return is_valid_bucket(shape.bytes) && is_valid_bucket(shape.operations); }

}  // namespace volley
