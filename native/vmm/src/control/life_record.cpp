#include "control/life_record.h"

#include "base/clock.h"
#include "process/crash_handlers.h"
#include "process/hardening.h"

namespace volley {

Status begin_record(InheritedFds& fds, uint32_t barriers, uint64_t entered_ns, char** arguments, PageFile* pages,
                    volley_config* config) {
  if (Status status = pages->map(fds.find(VOLLEY_ROLE_PAGES)); !status.is_ok()) return status;
  fds.close(VOLLEY_ROLE_PAGES);
  volley_stats& stats = pages->stats();
  stats.abi_version = VOLLEY_ABI_VERSION;
  stats.barriers = barriers;
  publish(stats.entered_ns, entered_ns);
  publish_state(stats, VOLLEY_VMM_STARTING);
  std::atomic_ref<uint64_t>(stats.magic).store(VOLLEY_STATS_MAGIC, std::memory_order_release);
  report_crashes_to(stats);
  *config = pages->read_config();
  name_process(*config, arguments);
  return Status::ok();
}

int finish_record(volley_stats& stats, AgentLink& link, const EndRecord& end) {
  publish(stats.exited_ns, monotonic_ns());
  publish_state(stats, VOLLEY_VMM_EXITED);
  link.accept_newest();
  link.close_incoming();
  link.send({.type = VOLLEY_NOTE_EXITING,
             .request_id = 0,
             .status = 0,
             .argument = static_cast<uint32_t>(end.reason()),
             .time_ns = stats.exited_ns,
             .payload = {}});
  return end.reason() == VOLLEY_EXIT_VMM_ERROR ? 1 : 0;
}

}  // namespace volley
