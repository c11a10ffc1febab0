#pragma once

namespace volley {

// The guest's power button: how VOLLEY_CMD_STOP reaches a guest. What it is wired to depends on the boot protocol.
class PowerButton {
 public:
  // Returns 0, or an errno when this guest has no button. Called from the control thread while vCPUs run.
  virtual int press() = 0;

 protected:
  ~PowerButton() = default;
};

}  // namespace volley
