#pragma once

#include <atomic>

#include "abi/volley_abi.h"
#include "base/status.h"
#include "base/wake_fd.h"
#include "devices/guest_end_sink.h"

namespace volley {

// Why the microVM ends. Any thread may report an end; the first report is the one that is kept. The record is written
// to the statistics page at once and becomes valid for readers when the control loop sets the state to EXITED.
class EndRecord final : public GuestEndSink {
 public:
  EndRecord(volley_stats& stats, const WakeFd& wake) : stats_(stats), wake_(wake) {}

  void guest_ended(volley_exit_reason reason, const char* sentence) override { end(reason, 0, sentence); }
  void end(volley_exit_reason reason, uint64_t detail, const char* sentence);
  void fail(const Status& status) { end(VOLLEY_EXIT_VMM_ERROR, status.detail(), status.message()); }

  bool ended() const { return ended_.load(std::memory_order_acquire); }
  volley_exit_reason reason() const { return reason_; }

 private:
  volley_stats& stats_;
  const WakeFd& wake_;
  std::atomic<bool> claimed_{false};
  std::atomic<bool> ended_{false};
  volley_exit_reason reason_ = VOLLEY_EXIT_NONE;
};

}  // namespace volley
