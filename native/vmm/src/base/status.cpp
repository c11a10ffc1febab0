#include "base/status.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace volley {

Status Status::error(const char* format, ...) {
  Status status;
  status.failed_ = true;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(status.message_, sizeof(status.message_), format, arguments);
  va_end(arguments);
  return status;
}

Status Status::system_error(int error_number, const char* format, ...) {
  Status status;
  status.failed_ = true;
  status.detail_ = static_cast<uint64_t>(error_number);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(status.message_, sizeof(status.message_), format, arguments);
  va_end(arguments);
  const char* meaning = strerror(error_number);
  const size_t used = strlen(status.message_);
  snprintf(status.message_ + used, sizeof(status.message_) - used, ": %s (errno %d)",
           meaning != nullptr ? meaning : "unknown error", error_number);
  return status;
}

}  // namespace volley
