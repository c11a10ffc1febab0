#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

namespace volley {

// The first `limit` bytes of a file; nothing when it cannot be opened.
std::optional<std::string> read_file(const std::string& path, size_t limit);

// Puts a file in place of whatever is there, a symbolic link included, in one step. Returns 0 or an errno.
int replace_file(const std::string& path, std::string_view content, mode_t mode);

// Writes into a file that is there, such as one of /proc or /sys. Returns 0 or an errno.
int write_into(const std::string& path, std::string_view content);

// Makes a folder and those above it. Returns 0, also when it was there, or an errno.
int make_folders(const std::string& path, mode_t mode = 0755);

// Writes all of it. Returns 0 or an errno.
int write_all(int fd, std::string_view bytes);

}  // namespace volley
