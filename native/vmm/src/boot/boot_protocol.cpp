#include "boot/boot_protocol.h"

#include "abi/volley_abi.h"

namespace volley {

Status load_cmdline(const BootSource& source, const GuestMemory& memory) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(source.cmdline);
  if (!memory.write(VOLLEY_CMDLINE_ADDRESS, {bytes, source.cmdline_length + 1u})) {
    return Status::error("the command line does not fit into guest memory");
  }
  return Status::ok();
}

}  // namespace volley
