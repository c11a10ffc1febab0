#pragma once

#include <cstdint>

#include "abi/volley_abi.h"

namespace volley {

// The outcome of something that can fail: nothing, or one sentence for the operator plus a number for programs (an
// errno, or what volley_stats.exit_detail says). A value of its own because the VMM is built without exceptions.
class [[nodiscard]] Status {
 public:
  static Status ok() { return Status(); }
  // A failure with no errno behind it. `detail` ends up in volley_stats.exit_detail.
  [[gnu::format(printf, 1, 2)]] static Status error(const char* format, ...);
  // A failed system call: the sentence gets ": <what errno means>" appended and detail is the errno.
  [[gnu::format(printf, 2, 3)]] static Status system_error(int error_number, const char* format, ...);

  bool is_ok() const { return !failed_; }
  uint64_t detail() const { return detail_; }
  const char* message() const { return message_; }

 private:
  Status() { message_[0] = '\0'; }

  bool failed_ = false;
  uint64_t detail_ = 0;
  char message_[VOLLEY_MESSAGE_MAX];
};

}  // namespace volley
