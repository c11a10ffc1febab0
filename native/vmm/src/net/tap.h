#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>

#include "base/status.h"

namespace volley {

// The host's end of a network device: a tap descriptor that the agent opened, which stays the agent's to close.
class Tap {
 public:
  enum class Outcome {
    kDone,
    kAgain,   // not now
    kFailed,  // this frame is lost, the tap lives
    kGone,    // the interface was taken away; no frame will pass again
  };
  struct Result {
    Outcome outcome;
    size_t bytes;
  };

  // Checks that it is a tap with virtio headers, sets their size and makes it non-blocking.
  Status adopt(int fd);
  int fd() const { return fd_; }

  // What may be handed to the guest unfinished (TUN_F_*). False if the host refuses; then nothing may.
  bool set_offloads(unsigned offloads) const;
  // One frame, header included. More bytes than there is room for are lost.
  Result read(const iovec* parts, size_t count) const;
  Result write(const iovec* parts, size_t count) const;

 private:
  int fd_ = -1;
};

}  // namespace volley
