#pragma once

namespace volley {

// A device's interrupt output.
class InterruptLine {
 public:
  virtual void set(bool level) = 0;
  void pulse() {
    set(true);
    set(false);
  }

 protected:
  ~InterruptLine() = default;
};

}  // namespace volley
