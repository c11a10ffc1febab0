#include "vsock/vsock_packet.h"

namespace volley {

bool read_packet(const Chain& chain, VsockHeader* header) {
  return chain.copy_out(0, {reinterpret_cast<uint8_t*>(header), kVsockHeaderBytes}) == kVsockHeaderBytes;
}

}  // namespace volley
