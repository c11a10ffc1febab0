#pragma once

#include "base/unique_fd.h"

namespace volley {

// Hears the power button: ACPI events as the kernel's `button` driver tells them to whoever listens on netlink. That
// takes no input device and no daemon.
class PowerButton {
 public:
  // Returns 0 or an errno.
  int open();

  int descriptor() const { return socket_.get(); }

  // The descriptor is readable: takes all events there are. True when the button was pressed.
  bool take();

 private:
  UniqueFd socket_;
};

}  // namespace volley
