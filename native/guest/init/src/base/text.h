#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace volley {

std::string format(const char* pattern, ...) __attribute__((format(printf, 1, 2)));

// "cannot do this: No such file or directory"
std::string failed(std::string_view doing, int error);

// Parts between separators; an empty text has none, and empty parts are kept.
std::vector<std::string_view> split(std::string_view text, char separator);

// A decimal number of digits only, at most `limit`.
std::optional<uint64_t> parse_number(std::string_view text, uint64_t limit);

// Writes a line to standard error, which is the console in a guest.
void say(const char* pattern, ...) __attribute__((format(printf, 1, 2)));

}  // namespace volley
