#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"

namespace volley {

// Of what is copied; PATH_MAX, of Linux.
constexpr size_t kLongestPath = 4096;

// The parts of a relative path, without `.`. False: absolute, or it has `..`, so it could leave the folder it is meant
// for.
bool path_parts(std::string_view path, std::vector<std::string>& parts);

std::string joined_path(const std::vector<std::string>& parts);

// Opens something below `base` that no symbolic link leads out of it. -1 and errno otherwise.
UniqueFd open_beneath(int base, const std::string& path, int flags);

// Opens a folder below `base`, making those parts of the path that are not there. -1 and errno when it cannot be.
UniqueFd open_folder_beneath(int base, const std::vector<std::string>& parts);

}  // namespace volley
