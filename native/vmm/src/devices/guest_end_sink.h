#pragma once

#include "abi/volley_abi.h"

namespace volley {

// Where a device reports that the guest has ended itself. The first report wins; the vCPU stops before its next
// instruction.
class GuestEndSink {
 public:
  virtual void guest_ended(volley_exit_reason reason, const char* sentence) = 0;

 protected:
  ~GuestEndSink() = default;
};

}  // namespace volley
