#include "agent/unused_disks.h"

#include <algorithm>

#include "base/files.h"
#include "vmm/test/support/check.h"

namespace volley {
namespace {

TEST(whole_virtio_disks_are_told_from_partitions_and_others) {
  for (const char* name : {"vda", "vdz", "vdab"}) CHECK(is_virtio_disk(name));
  for (const char* name : {"vda1", "vd", "sda", "loop0", "nvme0n1", ""}) CHECK(!is_virtio_disk(name));
}

// Where this runs in a microVM it has a disk that is mounted; elsewhere there is nothing to tell.
TEST(what_is_mounted_is_used) {
  const std::string mounts = read_file("/proc/mounts", 1 << 20).value_or("");
  CHECK(!mounts.empty());
  for (const std::string& name : unused_disks()) {
    CHECK(is_virtio_disk(name));
    CHECK(mounts.find("/dev/" + name + " ") == std::string::npos);
  }
}

}  // namespace
}  // namespace volley
