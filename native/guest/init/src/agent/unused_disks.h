#pragma once

#include <string>
#include <vector>

namespace volley {

// Names of the virtio disks (vdc) that nobody in the guest uses: the kernel would give them to one who wants a disk for
// itself, so that none of its file systems, swap areas or composed devices is on them, and no process has one of them
// open. In order of their names.
std::vector<std::string> unused_disks();

// What the kernel remembers of the content of these disks and of their partitions is forgotten: there may be others in
// their places.
void forget_unused_disks();

// Whether `name`, as /sys/block has it, is that of a whole virtio disk.
bool is_virtio_disk(const std::string& name);

}  // namespace volley
