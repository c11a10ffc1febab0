#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

#include "base/unique_fd.h"

namespace volley::fuzz {

// A tap without a network and without a privilege: a pair of sockets whose near end answers what a tap is asked. One at
// a time. What leaves through it is held against the rules that the device promises to the host.
class FakeTap {
 public:
  explicit FakeTap(const uint8_t (&mac)[6]);
  FakeTap(const FakeTap&) = delete;
  FakeTap& operator=(const FakeTap&) = delete;
  ~FakeTap();

  // The device's end.
  int fd() const { return near_.get(); }
  // A frame with its virtio header from the network. Lost if there is no room for it.
  void send(const void* frame, size_t bytes) const;
  // Takes up to `frames` of the guest's out of the way.
  void drain(unsigned frames) const;
  void remove() { far_.reset(); }
  // The next calls on the tap fail with this errno, 0 = they do not.
  void fail_with(int error_number) { error_ = error_number; }
  void refuse_offloads(bool refuse) { refuses_offloads_ = refuse; }

  // The calls of the device.
  int control(unsigned long request, unsigned long argument);
  ssize_t read(const iovec* parts, int count) const;
  ssize_t write(const iovec* parts, int count) const;

 private:
  UniqueFd near_;
  UniqueFd far_;
  uint8_t mac_[6];
  int error_ = 0;
  bool refuses_offloads_ = false;
};

// The tap behind a descriptor, if it is one.
FakeTap* tap_of(int fd);

}  // namespace volley::fuzz
