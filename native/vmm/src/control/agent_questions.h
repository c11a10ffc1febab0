#pragma once

#include <cstddef>

#include "base/mutex.h"
#include "base/wake_fd.h"
#include "virtio/device_context.h"

namespace volley {

// Carries the devices' questions from their threads to the control thread, which owns the agent's connection.
class AgentQuestions final : public AgentPort {
 public:
  static constexpr size_t kCapacity = 64;

  // `wake` is signalled for each question.
  explicit AgentQuestions(const WakeFd& wake) : wake_(wake) {}

  bool ask(const volley_message& question) override;
  // The oldest question that waits, if any.
  bool take(volley_message* question);

 private:
  const WakeFd& wake_;
  Mutex mutex_;
  volley_message waiting_[kCapacity];
  size_t first_ = 0;
  size_t count_ = 0;
};

}  // namespace volley
