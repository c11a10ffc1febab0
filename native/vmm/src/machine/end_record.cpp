#include "machine/end_record.h"

#include <cstring>

namespace volley {

void EndRecord::end(volley_exit_reason reason, uint64_t detail, const char* sentence) {
  if (claimed_.exchange(true)) return;
  reason_ = reason;
  stats_.exit_reason = reason;
  stats_.exit_detail = detail;
  strncpy(stats_.exit_message, sentence, sizeof(stats_.exit_message) - 1);
  stats_.exit_message[sizeof(stats_.exit_message) - 1] = '\0';
  ended_.store(true, std::memory_order_release);
  wake_.signal();
}

}  // namespace volley
