// Token buckets, with any shape that a configuration may have and any time.
#include "limits/rate_limiter.h"
#include "support/demand.h"
#include "support/script.h"

namespace volley::fuzz {

void run(Script& script) {
  const auto shape = script.take<volley_limiter>();
  // Nobody makes one of a shape that was not found valid.
  if (!is_valid(shape)) return;
  uint64_t now = script.take<uint64_t>() >> 2;
  RateLimiter limiter(shape, now);
  for (unsigned steps = 0; !script.is_over() && steps < 64; ++steps) {
    const uint8_t step = script.byte();
    const uint64_t bytes = script.take<uint64_t>() >> (step & 63);
    const uint64_t operations = script.byte();
    if ((step & 64) != 0) now += script.take<uint32_t>() * uint64_t{1000};
    if ((step & 128) != 0) {
      limiter.charge(bytes, operations, now);
      continue;
    }
    const uint64_t ready = limiter.ready_at(bytes, operations, now);
    demand(ready >= now, "a request could have passed before it came");
    if (limiter.take(bytes, operations, now)) {
      demand(ready == now, "a request passes that was told to wait");
      continue;
    }
    demand(ready > now, "a request is told to come at once, and then does not pass");
    if (ready - now > kMaxRefillMs * 1'000'000) continue;  // a debt of years
    now = ready;
    demand(limiter.take(bytes, operations, now), "a request does not pass when it was told to come");
  }
}
}  // namespace volley::fuzz
