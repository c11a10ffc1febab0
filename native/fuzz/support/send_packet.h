#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <cstring>
#include <span>

#include "support/demand.h"

namespace volley::fuzz {

inline constexpr size_t kDescriptorsAtMost = 70;

// Sends one packet with so many copies of a descriptor; one that cannot be sent now is lost, as from a peer that left.
inline void send_packet(int socket, std::span<const uint8_t> bytes, size_t descriptors, int passed) {
  demand(descriptors <= kDescriptorsAtMost, "a packet was to carry more descriptors than there is room for");
  alignas(cmsghdr) uint8_t control[CMSG_SPACE(kDescriptorsAtMost * sizeof(int))] = {};
  iovec part{const_cast<uint8_t*>(bytes.data()), bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (descriptors != 0) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(descriptors * sizeof(int));
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors * sizeof(int));
    for (size_t i = 0; i < descriptors; ++i) memcpy(CMSG_DATA(rights) + i * sizeof(int), &passed, sizeof(int));
  }
  sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace volley::fuzz
