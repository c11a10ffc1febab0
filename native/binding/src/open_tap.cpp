#include "open_tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "own_thread.h"

namespace volley {
namespace {

Result<UniqueFd> OpenHere(const std::string& name, const std::string& namespace_path) {
  const UniqueFd space(open(namespace_path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!space.is_open()) return FailedCall(errno, "cannot open the network namespace " + namespace_path);
  if (setns(space.get(), CLONE_NEWNET) < 0) {
    return FailedCall(errno, "cannot enter the network namespace " + namespace_path);
  }
  // After setns: the device belongs to the namespace that opened it.
  UniqueFd tap(open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!tap.is_open()) return FailedCall(errno, "cannot open /dev/net/tun (kernel module tun)");
  ifreq request{};
  memcpy(request.ifr_name, name.data(), name.size());
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (ioctl(tap.get(), TUNSETIFF, &request) < 0) {
    const int error = errno;
    if (error == EBUSY) return Failure{EBUSY, "the tap " + name + " is in use by another VMM"};
    return FailedCall(error, "cannot open the tap " + name);
  }
  // A name that is not there makes a new device, without address and routes: a guest on it would talk to nobody. Taps
  // of slots are persistent and one made here is not; it goes with the descriptor.
  ifreq found{};
  if (ioctl(tap.get(), TUNGETIFF, &found) < 0) return FailedCall(errno, "cannot look at the tap " + name);
  if ((found.ifr_flags & IFF_PERSIST) == 0) return Failure{ENODEV, "the tap " + name + " is not there"};
  return tap;
}

}  // namespace

Result<UniqueFd> OpenTap(const std::string& name, const std::string& namespace_path) {
  if (name.empty() || name.size() >= IFNAMSIZ ||
      name.find_first_of(std::string_view("/%\0 ", 4)) != std::string::npos) {
    return Failure{EINVAL, "a tap's name has 1 to 15 characters without '/', '%' and blanks"};
  }
  // A thread of its own: the namespace is left by ending.
  std::optional<Result<UniqueFd>> result;
  auto work = [&] { result.emplace(OpenHere(name, namespace_path)); };
  if (const int error = on_own_thread(work); error != 0) return FailedCall(error, "cannot make a thread");
  return std::move(*result);
}

}  // namespace volley
