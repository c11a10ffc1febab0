#pragma once

#include <string>

namespace volley {

inline constexpr char kCgroups[] = "/sys/fs/cgroup";

// The programs of a guest are in a cgroup of their own, apart from init and its sessions, so that they can be stopped
// without anybody noticing: neither they, as with SIGSTOP, nor their parents.
void make_workload_group();

// Puts the calling process there. Without the group, as in tests, it stays where it is.
void join_workload();

// Stops all programs: those of the group and of whatever groups they have made beside it. Returns 0 when none runs any
// more, or an errno.
int freeze_workload(std::string& problem);

// Has them go on.
void thaw_workload();

}  // namespace volley
