#include "vsock/vsock_queue.h"

namespace volley {

void VsockQueue::append(VsockConnection& connection) {
  if (connection.is_queued) return;
  const uint16_t link = static_cast<uint16_t>(connection.slot + 1);
  connection.is_queued = true;
  connection.queue_previous = last_;
  connection.queue_next = 0;
  if (last_ != 0) {
    table_.at(last_ - 1u)->queue_next = link;
  } else {
    first_ = link;
  }
  last_ = link;
}

void VsockQueue::remove(VsockConnection& connection) {
  if (!connection.is_queued) return;
  connection.is_queued = false;
  const uint16_t previous = connection.queue_previous;
  const uint16_t next = connection.queue_next;
  (previous != 0 ? table_.at(previous - 1u)->queue_next : first_) = next;
  (next != 0 ? table_.at(next - 1u)->queue_previous : last_) = previous;
}

}  // namespace volley
