#pragma once

#include <sys/eventfd.h>

#include <cerrno>
#include <cstdint>

#include "base/status.h"
#include "base/unique_fd.h"

namespace volley {

// An eventfd: lets any thread wake the control loop out of poll().
class WakeFd {
 public:
  Status create() {
    fd_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    return fd_.is_open() ? Status::ok() : Status::system_error(errno, "cannot create an eventfd");
  }
  void signal() const {
    const uint64_t one = 1;
    // It can only fail with a full counter, and then the loop is awake already.
    [[maybe_unused]] const ssize_t written = write(fd_.get(), &one, sizeof(one));
  }
  void drain() const {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = read(fd_.get(), &count, sizeof(count));
  }
  int get() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

}  // namespace volley
