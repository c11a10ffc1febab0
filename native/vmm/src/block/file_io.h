#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/status.h"
#include "block/disk_image.h"

namespace volley {

// Calls on a file that go on until all is done. 0 or an errno; the end of the file comes as EIO.
int read_bytes(int fd, uint64_t offset, std::span<uint8_t> to);
int write_bytes(int fd, uint64_t offset, std::span<const uint8_t> from);
int read_data(int fd, uint64_t offset, const GuestData& to);
int write_data(int fd, uint64_t offset, const GuestData& from);
void zero_data(const GuestData& to);

// Makes a hole, which reads as zeros. EOPNOTSUPP or EINVAL where the file has none, or none so finely cut.
int punch_hole(int fd, uint64_t offset, uint64_t length);
// Zeros on the file, as quickly as its file system can: as a hole if `unmap`, else without giving up its blocks.
int zero_range(int fd, uint64_t offset, uint64_t length, bool unmap);

// The descriptor of a disk as it should be: a regular file or block device, open for what is wanted, not for appending.
// Takes the lock that keeps a second microVM from writing to it, or from reading what somebody writes to; the lock goes
// with the last descriptor. `what` and `device` name it in messages. Returns its size.
Status adopt_disk_file(int fd, bool writable, uint32_t device, const char* what, uint64_t* size);

}  // namespace volley
