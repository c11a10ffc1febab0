#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "abi/volley_guest.h"

namespace volley {

struct Frame {
  uint8_t type = 0;
  std::string_view body;
};

// Takes frames out of bytes as they come, and never holds more than one frame and a half.
class FrameReader {
 public:
  // Appends what the connection has, at most one buffer full. Returns what read() returned; 0 is the end.
  ssize_t fill(int fd);

  // The next whole frame; valid until the next call of anything. False: more must be read first, or is_broken().
  bool next(Frame& frame);

  // A frame longer than frames may be: nothing after it can be understood.
  bool is_broken() const { return is_broken_; }

 private:
  std::string bytes_;
  size_t begin_ = 0;
  bool is_broken_ = false;
};

// The bytes of one frame. The body must not be longer than VOLLEY_FRAME_MAX.
std::string frame_of(uint8_t type, std::string_view body = {});

// Writes a frame, waiting as long as it takes. Returns 0 or an errno.
int send_frame(int fd, uint8_t type, std::string_view body = {});

// RESULT.
std::string result_body(int error, std::string_view sentence);

// Tells the other side that all is said, and waits a while for it to close, so that nothing said is lost.
void finish(int fd);

// A number at the start of a body.
template <typename T>
bool read_number(std::string_view body, T& number) {
  if (body.size() < sizeof(number)) return false;
  __builtin_memcpy(&number, body.data(), sizeof(number));
  return true;
}

template <typename T>
std::string_view bytes_of(const T& plain) {
  return {reinterpret_cast<const char*>(&plain), sizeof(plain)};
}

}  // namespace volley
