#include "support/sandbox.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "abi/volley_abi.h"
#include "base/files.h"
#include "vmm/test/support/check.h"

namespace volley::test {
namespace {

constexpr char kMemory[] = "/dev/mem";

// Kept from before /dev is covered.
UniqueFd& tap_driver() {
  static UniqueFd driver;
  return driver;
}

}  // namespace

bool enter_sandbox() {
  tap_driver().reset(open("/dev/net/tun", O_PATH | O_CLOEXEC));
  if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS) == 0 &&
      mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 && cover("/dev") && cover("/sys/class/net")) {
    return true;
  }
  fprintf(stderr, "SKIPPED: no namespaces can be made (%s); run as root\n", strerror(errno));
  return false;
}

bool cover(const std::string& folder) { return mount("tmpfs", folder.c_str(), "tmpfs", 0, "mode=755") == 0; }

Tap::Tap(const std::string& name, uint8_t last, Stands stands) : name_(name) {
  fd_.reset(open(("/proc/self/fd/" + std::to_string(tap_driver().get())).c_str(), O_RDWR | O_CLOEXEC));
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  REQUIRE(fd_.is_open() && ioctl(fd_.get(), TUNSETIFF, &request) == 0);
  const uint8_t mac[6] = {2, 0, 0, 0, 0, last};
  memcpy(request.ifr_hwaddr.sa_data, mac, sizeof mac);
  request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  REQUIRE(ioctl(socket.get(), SIOCSIFHWADDR, &request) == 0);
  const std::string folder = "/sys/class/net/" + name + "/device";
  if (stands == Stands::kForADevice) CHECK_EQ(make_folders(folder), 0);
  if (stands == Stands::kForNothing) remove(folder.c_str());
}

PhysicalMemory::PhysicalMemory() : file_(open(kMemory, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) {
  REQUIRE(file_.is_open() && ftruncate(file_.get(), VOLLEY_BOOT_TIMER_ADDRESS + 4096) == 0);
}

PhysicalMemory::~PhysicalMemory() { unlink(kMemory); }

void PhysicalMemory::set_generation(uint8_t all_bytes) const {
  const std::string id(16, static_cast<char>(all_bytes));
  CHECK_EQ(pwrite(file_.get(), id.data(), id.size(), VOLLEY_GENERATION_ID_ADDRESS), ssize_t{16});
}

bool PhysicalMemory::boot_timer_is_written() const {
  uint8_t value = 0;
  CHECK_EQ(pread(file_.get(), &value, 1, VOLLEY_BOOT_TIMER_ADDRESS), ssize_t{1});
  return value == VOLLEY_BOOT_TIMER_VALUE;
}

}  // namespace volley::test
