// Did the kernel's OOM killer end this process? Asked only when a VMM died of a SIGKILL that this agent did not send.
#ifndef VOLLEY_BINDING_OOM_WATCH_H
#define VOLLEY_BINDING_OOM_WATCH_H

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>

#include "base/unique_fd.h"

namespace volley {

struct OomKill {
  pid_t pid = 0;
  uint64_t at_us = 0;  // the kernel log's clock, microseconds since boot
};

/// Picks the victim out of one record of /dev/kmsg, if it tells of an OOM kill (global or of a memory cgroup).
std::optional<OomKill> ParseOomRecord(std::string_view record);

/// Picks a counter out of /proc/vmstat.
std::optional<uint64_t> ParseVmstat(std::string_view text, std::string_view name);

/// A signal carries no sender, so the evidence is the kernel's log, which names the victim's pid. It is honest only
/// where this process sees the kernel's own process ids (the first pid namespace) and may read the log; elsewhere the
/// host-wide counter of OOM kills can still say "none happened" or "perhaps". Not thread safe.
class OomWatch {
 public:
  enum class Verdict { kNo, kPerhaps, kYes };

  OomWatch();
  Verdict Ask(pid_t pid, uint64_t launched_ns);

 private:
  void ReadLog();
  static std::optional<uint64_t> CountKills();

  UniqueFd log_;
  std::map<pid_t, uint64_t> victims_;  // pid -> microseconds since boot
  uint64_t kills_read_ = 0;            // OOM kills found in the log since the start
  std::optional<uint64_t> kills_at_start_;
};

}  // namespace volley

#endif
