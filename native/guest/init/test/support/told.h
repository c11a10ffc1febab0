#pragma once

#include <cstdint>
#include <string>

#include "agent/frames.h"
#include "vmm/test/support/check.h"

namespace volley::test {

// What a guest answered to its host.
struct Told {
  int32_t error = -1;
  std::string sentence;
};

// Waits for the next frame, which must be a RESULT.
inline Told told_on(int connection) {
  FrameReader reader;
  Frame frame;
  while (!reader.next(frame)) {
    if (reader.is_broken() || reader.fill(connection) <= 0) {
      CHECK(!"the guest answered");
      return {};
    }
  }
  CHECK_EQ(frame.type, VOLLEY_GUEST_RESULT);
  Told told;
  CHECK(read_number(frame.body, told.error));
  told.sentence = frame.body.substr(sizeof told.error);
  return told;
}

}  // namespace volley::test
