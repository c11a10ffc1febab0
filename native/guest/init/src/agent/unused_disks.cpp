#include "agent/unused_disks.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <string_view>

#include "base/unique_fd.h"

namespace volley {
namespace {

// Minor numbers of one disk: itself, and its partitions.
constexpr unsigned kMinorsOfDisk = 16;

std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> names;
  DIR* const folder = opendir(path.c_str());
  if (folder == nullptr) return names;
  while (const dirent* entry = readdir(folder)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  closedir(folder);
  std::sort(names.begin(), names.end());
  return names;
}

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// The disks that processes have open, or partitions of them, each as the number of its first minor.
std::vector<dev_t> open_disks() {
  std::vector<dev_t> found;
  for (const std::string& process : names_in("/proc")) {
    if (!is_number(process)) continue;
    const std::string descriptors = "/proc/" + process + "/fd/";
    for (const std::string& number : names_in(descriptors)) {
      struct stat info {};
      if (stat((descriptors + number).c_str(), &info) != 0 || !S_ISBLK(info.st_mode)) continue;
      found.push_back(makedev(major(info.st_rdev), minor(info.st_rdev) / kMinorsOfDisk * kMinorsOfDisk));
    }
  }
  return found;
}

// Only while nobody else has it, mounted or not.
UniqueFd open_exclusively(const std::string& name) {
  return UniqueFd(open(("/dev/" + name).c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
}

}  // namespace

bool is_virtio_disk(const std::string& name) {
  return name.size() > 2 && name.compare(0, 2, "vd") == 0 &&
         std::all_of(name.begin() + 2, name.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

std::vector<std::string> unused_disks() {
  std::vector<std::string> unused;
  const std::vector<dev_t> used = open_disks();
  for (const std::string& name : names_in("/sys/block")) {
    if (!is_virtio_disk(name)) continue;
    const UniqueFd disk = open_exclusively(name);
    struct stat info {};
    if (!disk.is_open() || fstat(disk.get(), &info) != 0) continue;
    if (std::find(used.begin(), used.end(), info.st_rdev) == used.end()) unused.push_back(name);
  }
  return unused;
}

void forget_unused_disks() {
  for (const std::string& name : unused_disks()) {
    const UniqueFd disk = open_exclusively(name);
    if (!disk.is_open()) continue;
    // That of a disk that nobody uses: what cannot be forgotten is read again by whoever comes to use it.
    ioctl(disk.get(), BLKFLSBUF, 0);
    ioctl(disk.get(), BLKRRPART, 0);
  }
}

}  // namespace volley
