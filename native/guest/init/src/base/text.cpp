#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

namespace volley {
namespace {

std::string format_list(const char* pattern, va_list arguments) {
  char text[1024];
  const int length = vsnprintf(text, sizeof(text), pattern, arguments);
  if (length < 0) return {};
  return std::string(text, std::min(static_cast<size_t>(length), sizeof(text) - 1));
}

}  // namespace

std::string format(const char* pattern, ...) {
  va_list arguments;
  va_start(arguments, pattern);
  std::string text = format_list(pattern, arguments);
  va_end(arguments);
  return text;
}

std::string failed(std::string_view doing, int error) {
  std::string text(doing);
  text += ": ";
  text += strerror(error);
  return text;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  if (text.empty()) return parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::optional<uint64_t> parse_number(std::string_view text, uint64_t limit) {
  if (text.empty() || text.size() > 20) return std::nullopt;
  uint64_t value = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '9') return std::nullopt;
    const auto worth = static_cast<uint64_t>(digit - '0');
    if (value > (limit - worth) / 10 || worth > limit) return std::nullopt;
    value = value * 10 + worth;
  }
  return value;
}

void say(const char* pattern, ...) {
  va_list arguments;
  va_start(arguments, pattern);
  const std::string line = "init: " + format_list(pattern, arguments) + "\n";
  va_end(arguments);
  [[maybe_unused]] const ssize_t ignored = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace volley
