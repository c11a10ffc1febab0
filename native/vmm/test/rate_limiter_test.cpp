#include "limits/rate_limiter.h"

#include <random>

#include "support/check.h"

namespace volley {
namespace {

constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kSecond = 1'000 * kMs;
constexpr uint64_t kMib = 1 << 20;

// Sends requests of `tokens` as fast as the bucket lets them, for `seconds`; returns how many tokens went through.
uint64_t drive(TokenBucket bucket, uint64_t tokens, uint64_t seconds, uint64_t start) {
  uint64_t now = start;
  uint64_t sent = 0;
  while (now < start + seconds * kSecond) {
    if (bucket.take(tokens, now)) {
      sent += tokens;
      continue;
    }
    const uint64_t at = bucket.ready_at(tokens, now);
    if (at <= now) return 0;
    TokenBucket early = bucket;
    if (early.take(tokens, at - 1)) return 0;  // ready_at is exact to the nanosecond
    now = at;
  }
  return sent;
}

TEST(the_rate_is_kept_exactly) {
  const uint64_t start = 1'234'567'890'123'456;
  const struct {
    volley_bucket shape;
    uint64_t request;
  } kCases[] = {
      {{10 * kMib, 0, 100}, 65536},
      {{10 * kMib, 0, 100}, 4096},
      {{100, 0, 100}, 1},
      {{1, 0, 1}, 1},
      {{3, 0, 1000}, 1},
      {{1'000'003, 0, 997}, 1499},
      {{7, 0, 3}, 2},
      {{1000, 500, 1000}, 10},
      {{1ull << 40, 0, 1000}, 1ull << 30},
  };
  for (const auto& c : kCases) {
    const uint64_t sent = drive(TokenBucket(c.shape, start), c.request, 20, start);
    const double wanted = static_cast<double>(c.shape.size) * (1 + 20'000.0 / static_cast<double>(c.shape.refill_ms)) +
                          static_cast<double>(c.shape.burst);
    // One request more or less, and a part in 10,000.
    const double error = std::abs(static_cast<double>(sent) - wanted);
    CHECK(error <= wanted * 1e-4 + static_cast<double>(c.request));
  }
}

TEST(oversized_requests_keep_the_rate_too) {
  // 64 KiB/s, requests of 1 MiB: one goes when the bucket is full, then it pays back for 16 s.
  TokenBucket bucket({65536, 0, 1000}, 0);
  CHECK(bucket.take(kMib, 0));
  CHECK(!bucket.take(1, 14 * kSecond));
  CHECK_EQ(bucket.ready_at(kMib, 14 * kSecond), 16 * kSecond);
  CHECK(!bucket.take(kMib, 16 * kSecond - 1));
  CHECK(bucket.take(kMib, 16 * kSecond));
  CHECK_EQ(bucket.ready_at(1, 16 * kSecond), 31 * kSecond + (kSecond + 65535) / 65536);
}

TEST(the_burst_is_there_once_and_spent_first) {
  TokenBucket bucket({100, 50, 1000}, 0);
  CHECK(bucket.take(50, 0));
  CHECK(bucket.take(100, 0));
  CHECK(!bucket.take(1, 0));
  CHECK(bucket.take(100, kSecond));
  CHECK(!bucket.take(1, kSecond));
  CHECK(!bucket.take(101, kSecond + 500 * kMs));
  // Larger than the bucket but covered by burst and bucket together.
  TokenBucket both({100, 50, 1000}, 0);
  CHECK(both.take(150, 0));
  CHECK(!both.take(1, 9 * kMs));
  CHECK(both.take(1, 10 * kMs));
}

TEST(it_never_holds_more_than_its_size) {
  TokenBucket bucket({10, 0, 10}, 0);
  CHECK(bucket.take(10, 0));
  CHECK(bucket.take(10, 3600 * kSecond));
  CHECK(!bucket.take(1, 3600 * kSecond));
  CHECK(!bucket.take(1, 3600 * kSecond + kMs - 1));
  CHECK(bucket.take(1, 3600 * kSecond + kMs));
}

TEST(no_size_is_no_limit) {
  TokenBucket bucket;
  CHECK(bucket.is_unlimited());
  CHECK(bucket.take(~0ull, 0));
  CHECK_EQ(bucket.ready_at(~0ull, 7), 7u);
  RateLimiter limiter;
  CHECK(limiter.is_unlimited());
  CHECK(limiter.take(~0ull, ~0ull, 0));
}

TEST(charged_work_is_paid_back) {
  TokenBucket bucket({1000, 0, 1000}, 0);
  bucket.charge(2500, 0);
  CHECK(!bucket.take(1, 1500 * kMs));
  CHECK(bucket.take(1, 1501 * kMs));
  // A debt without end does not overflow.
  for (int i = 0; i < 100; ++i) bucket.charge(~0ull, 1501 * kMs);
  CHECK(!bucket.take(1, 3600 * kSecond));
}

TEST(both_buckets_pay_or_neither) {
  RateLimiter limiter({{1000, 0, 1000}, {2, 0, 1000}}, 0);
  CHECK(limiter.take(10, 1, 0));
  CHECK(!limiter.take(1000, 1, 0));  // bytes refuse, the operation is not lost
  CHECK(limiter.take(10, 1, 0));
  CHECK(!limiter.take(980, 1, 0));  // operations refuse, the bytes are not lost
  CHECK_EQ(limiter.ready_at(980, 1, 0), 500 * kMs);
  CHECK(limiter.take(980, 0, 0));
  CHECK_EQ(limiter.ready_at(1000, 1, 0), kSecond);
}

TEST(time_that_stands_still_or_goes_back_gives_nothing) {
  TokenBucket bucket({10, 0, 10}, kSecond);
  CHECK(bucket.take(10, kSecond));
  CHECK(!bucket.take(1, kSecond));
  CHECK(!bucket.take(1, 0));
  CHECK(bucket.take(10, kSecond + 10 * kMs));
}

TEST(odd_intervals_lose_no_fraction) {
  std::mt19937_64 random(7);
  TokenBucket bucket({999'983, 0, 1009}, 0);
  CHECK(bucket.take(999'983, 0));
  uint64_t now = 0;
  uint64_t got = 0;
  while (now < 100 * kSecond) {
    now += random() % 5000;  // most of them earn less than a token
    if (bucket.take(1, now)) ++got;
  }
  const double rate = 999'983.0 / 1009e6;
  // Two draws at most come for each token, so nearly all are taken.
  CHECK(static_cast<double>(got) <= rate * static_cast<double>(now) + 1);
  CHECK(static_cast<double>(got) >= rate * static_cast<double>(now) * 0.3);
  CHECK_EQ(bucket.ready_at(999'983, now), bucket.ready_at(999'983, now));
}

TEST(senseless_shapes_are_named) {
  const auto valid = [](volley_bucket bucket) {
    return is_valid({bucket, {}}) && is_valid({{}, bucket}) && is_valid({bucket, bucket});
  };
  CHECK(valid({0, 0, 0}));
  CHECK(valid({1, 0, 1}));
  CHECK(valid({kMaxBucketTokens, kMaxBucketTokens, kMaxRefillMs}));
  CHECK(!valid({1, 0, 0}));
  CHECK(!valid({0, 1, 0}));
  CHECK(!valid({0, 0, 1}));
  CHECK(!valid({kMaxBucketTokens + 1, 0, 1}));
  CHECK(!valid({1, kMaxBucketTokens + 1, 1}));
  CHECK(!valid({1, 0, kMaxRefillMs + 1}));
}

TEST(a_debt_that_takes_longer_than_there_is_time_waits_to_its_end) {
  TokenBucket bucket({1, 0, kMaxRefillMs}, 5);
  CHECK(bucket.take(1 << 20, 5));  // 2^20 weeks: more ns than 64 bits hold, and once a short wait because of that
  CHECK_EQ(bucket.ready_at(1, 5), UINT64_MAX);
  CHECK(!bucket.take(1, 1000 * kSecond));
  CHECK_EQ(bucket.ready_at(1, 1000 * kSecond), UINT64_MAX);
}

TEST(the_largest_shape_does_not_overflow) {
  TokenBucket bucket({kMaxBucketTokens, kMaxBucketTokens, kMaxRefillMs}, 0);
  CHECK(bucket.take(2 * kMaxBucketTokens, 0));
  CHECK_EQ(bucket.ready_at(kMaxBucketTokens, 0), kMaxRefillMs * kMs);
  CHECK(bucket.take(kMaxBucketTokens, kMaxRefillMs * kMs));
  CHECK(!bucket.take(1, kMaxRefillMs * kMs));
}

}  // namespace
}  // namespace volley
