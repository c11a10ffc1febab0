#include "agent/hold_session.h"

#include <errno.h>
#include <unistd.h>

#include "agent/frames.h"
#include "agent/unused_disks.h"
#include "base/text.h"
#include "machine_page.h"
#include "workload.h"

namespace volley {

void run_hold(int connection) {
  const auto before = read_generation_id();
  std::string problem = "this guest cannot read its generation id, so its clones would not know that they are some";
  int error = before ? freeze_workload(problem) : ENXIO;
  if (error == 0) {
    std::string disks;
    for (const std::string& name : unused_disks()) disks += (disks.empty() ? "" : " ") + name;
    error = send_frame(connection, VOLLEY_GUEST_RESULT, result_body(0, disks));
  }
  if (error != 0) {
    thaw_workload();
    send_frame(connection, VOLLEY_GUEST_RESULT, result_body(error, problem));
    return;
  }
  char ignored[64];
  while (read(connection, ignored, sizeof(ignored)) > 0) {
  }
  // In a guest that went on from the snapshot the connection is gone as well: RESTORED lets its programs go on.
  if (read_generation_id() == before) thaw_workload();
}

}  // namespace volley
