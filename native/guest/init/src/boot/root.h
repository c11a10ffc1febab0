#pragma once

#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "config.h"

namespace volley {

// The file systems under a running guest.
class Root {
 public:
  // /dev, /proc and /sys of the initial ram disk; without them nothing else can be done.
  void mount_first();

  // Builds the root file system from the configured devices, moves into it and removes the initial ram disk. Without a
  // configured root it stays in the ram disk. Returns 0, or an errno with the reason in `problem`.
  int enter(const Config& config, std::string& problem);

  // /run, /dev/pts, /dev/shm, cgroups, and the configured further disks.
  int mount_rest(const Config& config, std::string& problem);

  // Everything is written and no file system left as one that was in use.
  void leave();

 private:
  int mount_layers(const Config& config, std::string& problem);
  int switch_to_new_root(std::string& problem);

  UniqueFd upper_;                  // the root folder of the writable layer's file system
  std::vector<std::string> disks_;  // where further disks are mounted, in order
};

}  // namespace volley
