#pragma once

#include <cstdint>

#include "base/unique_fd.h"
#include "virtio/device_loop.h"
#include "vsock/byte_ring.h"
#include "vsock/vsock_packet.h"

namespace volley {

// What the guest may send ahead of what the host has taken.
inline constexpr uint32_t kVsockBufferBytes = 65536;

class VsockConnection;

class VsockConnectionOwner {
 public:
  virtual void connection_ready(VsockConnection& connection, uint32_t epoll_events) = 0;

 protected:
  ~VsockConnectionOwner() = default;
};

// One stream between a socket on the host and a port of the guest. Plain state: VsockDevice acts on it. Credit counts
// in both directions are modulo 2^32, as on the wire; what the guest says of its own side can only hurt itself.
class VsockConnection final : public EventHandler {
 public:
  enum class State : uint8_t {
    kHello,      // from the host; its first line has not come yet
    kAsked,      // from the guest; the agent has not answered yet
    kRequested,  // from the host; the guest has not answered yet
    kOpen,
    // Over for the guest, or about to be told so. What the guest sent before is still handed to the host.
    kClosing,
  };
  // What the guest has to be told, as bits.
  enum Owed : uint8_t {
    kOweRequest = 1,
    kOweResponse = 2,
    kOweReset = 4,
    kOweCreditUpdate = 8,
  };

  VsockConnection(VsockConnectionOwner& its_owner, uint16_t number, uint32_t life)
      : owner(its_owner), slot(number), generation(life) {}

  void ready(uint32_t epoll_events) override { owner.connection_ready(*this, epoll_events); }

  // Bytes that the guest takes at the moment.
  uint32_t credit() const {
    const uint32_t in_flight = sent - guest_forwarded;
    return in_flight < guest_buffer ? guest_buffer - in_flight : 0;
  }
  // Bytes that the guest may still send.
  uint32_t room() const { return kVsockBufferBytes - (received - forwarded); }
  // Bytes forwarded that the guest does not know of.
  uint32_t untold() const { return forwarded - forwarded_told; }
  void take_credit(const VsockHeader& header) {
    guest_buffer = header.buffer_bytes;
    guest_forwarded = header.forwarded_bytes;
    if (credit() != 0) credit_asked = false;
  }
  // What the host will not do any more, for the guest to know.
  uint32_t host_flags() const { return (host_ended ? kVsockNoSend : 0) | (host_deaf ? kVsockNoReceive : 0); }
  bool reads_host() const {
    return state == State::kOpen && readable && !host_ended && (guest_flags & kVsockNoReceive) == 0;
  }
  // Whether a buffer of the guest would be put to use.
  bool wants_to_speak() const {
    return owed != 0 || (state == State::kOpen && host_flags() != host_flags_told) ||
           (reads_host() && (credit() != 0 || !credit_asked));
  }

  VsockConnectionOwner& owner;
  const uint16_t slot;
  const uint32_t generation;  // tells the connections apart that had this slot
  State state = State::kHello;
  uint8_t owed = 0;
  bool readable = true;  // the socket may have something: known only when it was tried
  bool writable = true;
  bool credit_asked = false;
  bool host_ended = false;   // the host sends no more
  bool host_deaf = false;    // the host receives no more
  bool write_shut = false;   // the host was told that the guest sends no more
  bool buffer_used = false;  // memory to be given up with the slot
  bool is_indexed = false;
  bool is_queued = false;
  uint8_t host_flags_told = 0;
  uint8_t guest_flags = 0;
  UniqueFd socket;
  VsockPorts ports{0, 0};
  uint64_t deadline_ns = 0;  // 0 = none

  uint32_t guest_buffer = 0;
  uint32_t guest_forwarded = 0;
  uint32_t sent = 0;      // bytes to the guest
  uint32_t received = 0;  // bytes from the guest
  uint32_t forwarded = 0;
  uint32_t forwarded_told = 0;
  ByteRing buffered;

  // Links of VsockTable and VsockQueue: slots + 1, 0 = none.
  uint16_t next_in_bucket = 0;
  uint16_t queue_previous = 0;
  uint16_t queue_next = 0;
};

}  // namespace volley
