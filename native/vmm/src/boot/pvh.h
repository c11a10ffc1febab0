#pragma once

#include <cstdint>
#include <span>

#include "base/status.h"
#include "boot/boot_protocol.h"
#include "kvm/vcpu.h"
#include "memory/guest_memory.h"

namespace volley {

// The PVH boot protocol: a kernel names a 32-bit entry point in an ELF note and is entered there in flat protected mode
// without paging, with ebx pointing at a description of memory, command line and modules.

// Looks for the entry point among the ELF notes of `notes`, the content of one PT_NOTE segment whose parts are aligned
// to `alignment` (4 or 8). False if it is not there. Notes that claim to be longer than what is left are not read.
bool find_pvh_entry(std::span<const uint8_t> notes, uint64_t alignment, uint64_t* entry);

// Writes the start information and the GDT. `initrd_size` 0 = no module.
Status write_pvh_start_info(const BootSource& source, uint64_t initrd_address, uint64_t initrd_size,
                            const GuestMemory& memory);
// Sets the registers of the vCPU that boots.
Status enter_pvh(const Vcpu& vcpu, uint64_t entry);

}  // namespace volley
