#include "control/agent_questions.h"

namespace volley {

bool AgentQuestions::ask(const volley_message& question) {
  {
    MutexLock lock(mutex_);
    if (count_ == kCapacity) return false;
    waiting_[(first_ + count_++) % kCapacity] = question;
  }
  wake_.signal();
  return true;
}

bool AgentQuestions::take(volley_message* question) {
  MutexLock lock(mutex_);
  if (count_ == 0) return false;
  *question = waiting_[first_];
  first_ = (first_ + 1) % kCapacity;
  --count_;
  return true;
}

}  // namespace volley
