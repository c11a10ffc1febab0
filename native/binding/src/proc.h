// What /proc says about processes: enough to name one process for as long as the host is up.
#ifndef VOLLEY_BINDING_PROC_H
#define VOLLEY_BINDING_PROC_H

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "result.h"

namespace volley {

struct ProcessStat {
  char state = '?';         // field 3; Z and X have ended
  std::string start_ticks;  // field 22, clock ticks since boot
};

/// Reads the first `limit` bytes of a (proc) file.
Result<std::string> ReadSmallFile(const std::string& path, size_t limit = 4096);

/// Picks state and start time out of /proc/<pid>/stat. The name in field 2 may hold spaces, brackets and newlines.
std::optional<ProcessStat> ParseProcessStat(std::string_view text);

Result<ProcessStat> ReadProcessStat(pid_t pid);

/// Thread ids as this process sees them, of threads that name themselves by those of their own pid namespace. Threads
/// that are not found are left out.
std::vector<uint32_t> ThreadIdsSeenHere(pid_t pid, const std::vector<uint32_t>& own);

/// True when the process was started as a VMM of this microVM, going by its argument vector.
bool IsVmmOf(pid_t pid, const std::string& id);

/// /proc/sys/kernel/random/boot_id without the line end.
Result<std::string> ReadBootId();

}  // namespace volley

#endif
