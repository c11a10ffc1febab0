#pragma once

#include <cstddef>
#include <cstdint>

#include "base/mutex.h"
#include "base/wake_fd.h"
#include "control/device_commands.h"

namespace volley {

// Carries the vsock device's asks from its thread to the control thread, which owns the agent's connection.
class VsockAsks final : public VsockAsker {
 public:
  static constexpr size_t kCapacity = 64;

  struct Ask {
    uint32_t request_id;
    uint32_t port;
  };

  // `wake` is signalled for each ask.
  explicit VsockAsks(const WakeFd& wake) : wake_(wake) {}

  bool ask(uint32_t request_id, uint32_t port) override;
  // The oldest ask that waits, if any.
  bool take(Ask* ask);

 private:
  const WakeFd& wake_;
  Mutex mutex_;
  Ask waiting_[kCapacity];
  size_t first_ = 0;
  size_t count_ = 0;
};

}  // namespace volley
