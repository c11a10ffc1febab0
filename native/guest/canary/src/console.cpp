#include "console.h"

#include "supervisor.h"

namespace canary {

Line& Line::text(const char* string) {
  while (*string != '\0') text(string++, 1);
  return *this;
}

Line& Line::text(const char* string, size_t length) {
  // A line that is too long is cut; one byte is kept for the line end.
  for (size_t i = 0; i < length && length_ < kCapacity - 1; ++i) buffer_[length_++] = string[i];
  return *this;
}

Line& Line::number(uint64_t value) {
  char digits[20];
  size_t at = sizeof(digits);
  do {
    digits[--at] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  return text(digits + at, sizeof(digits) - at);
}

Line& Line::hex(const uint8_t* bytes, size_t count) {
  constexpr char kDigits[] = "0123456789abcdef";
  for (size_t i = 0; i < count; ++i) text(kDigits + (bytes[i] >> 4), 1).text(kDigits + (bytes[i] & 15), 1);
  return *this;
}

void Line::send() {
  buffer_[length_++] = '\n';
  print(buffer_, length_);
  length_ = 0;
}

}  // namespace canary
