#include "void_namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "own_thread.h"

namespace volley {
namespace {

struct Kind {
  uint32_t barrier;
  int flag;
  uint16_t role;
  const char* path;
};
constexpr Kind kAll[] = {
    {VOLLEY_BARRIER_MOUNTS, CLONE_NEWNS, VOLLEY_ROLE_NS_MOUNT, "/proc/thread-self/ns/mnt"},
    {VOLLEY_BARRIER_NETWORK, CLONE_NEWNET, VOLLEY_ROLE_NS_NETWORK, "/proc/thread-self/ns/net"},
    {VOLLEY_BARRIER_IPC, CLONE_NEWIPC, VOLLEY_ROLE_NS_IPC, "/proc/thread-self/ns/ipc"},
    {VOLLEY_BARRIER_UTS, CLONE_NEWUTS, VOLLEY_ROLE_NS_UTS, "/proc/thread-self/ns/uts"},
};

std::string failed(const char* what) {
  // std::generic_category is thread safe, strerror is not.
  return std::string(what) + ": " + std::generic_category().message(errno);
}

// Replaces all mounts of this (own, new) mount namespace by one empty, read-only tmpfs. Empty, or what failed.
std::string empty_the_root(int mount_namespace) {
  // An agent may live in a chroot. Who enters the namespace gets its root, not the agent's; so that is the one to
  // replace.
  if (setns(mount_namespace, CLONE_NEWNS) != 0) return failed("go to the root of the mounts");
  // Nothing of the following may reach the namespace that this one is a copy of.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return failed("make the mounts private");
  // Any folder will do as the place of the new root; this one is on every Linux that has /proc.
  constexpr char kPlace[] = "/proc";
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (mount("void", kPlace, "tmpfs", kFlags, "size=4k,nr_inodes=2,mode=555") != 0) return failed("mount a tmpfs");
  if (chdir(kPlace) != 0) return failed("enter the tmpfs");
  // With both arguments "." the old root ends up on top of the new one, and is what the next call takes away.
  if (syscall(SYS_pivot_root, ".", ".") == 0) {
    if (umount2(".", MNT_DETACH) != 0) return failed("let go of the old root");
  } else if (errno == EINVAL) {
    // The root is an initramfs, which cannot be taken away: buried under the new root, nobody can get at it either.
    if (mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || chroot(".") != 0) return failed("move the new root");
  } else {
    return failed("pivot_root");
  }
  if (mount(nullptr, "/", nullptr, MS_REMOUNT | MS_RDONLY | kFlags, "size=4k,nr_inodes=2,mode=555") != 0) {
    return failed("make the root read-only");
  }
  return {};
}

}  // namespace

VoidNamespaces::VoidNamespaces(VoidNamespaces&& other) noexcept {
  for (int i = 0; i < kKinds; ++i) {
    fds_[i] = std::exchange(other.fds_[i], -1);
    why_not_[i] = std::move(other.why_not_[i]);
  }
}

VoidNamespaces::~VoidNamespaces() {
  for (const int fd : fds_) {
    if (fd >= 0) close(fd);
  }
}

VoidNamespaces VoidNamespaces::make() {
  VoidNamespaces made;
  auto work = [&made] { made.make_here(); };
  const int error = on_own_thread(work);
  if (error != 0) {
    for (std::string& reason : made.why_not_) reason = "make a thread: " + std::generic_category().message(error);
  }
  return made;
}

// The thread ends with the call, and with it all that it entered.
void VoidNamespaces::make_here() {
  for (int i = 0; i < kKinds; ++i) {
    if (unshare(kAll[i].flag) != 0) {
      why_not_[i] = failed("make a namespace");
      continue;
    }
    // Opened before the mounts go, or /proc would be gone.
    fds_[i] = open(kAll[i].path, O_RDONLY | O_CLOEXEC);
    if (fds_[i] < 0) why_not_[i] = failed("open a namespace");
  }
  if (fds_[0] < 0) return;
  why_not_[0] = empty_the_root(fds_[0]);
  if (!why_not_[0].empty()) close(std::exchange(fds_[0], -1));
}

uint32_t VoidNamespaces::barriers() const {
  uint32_t all = 0;
  for (int i = 0; i < kKinds; ++i) {
    if (fds_[i] >= 0) all |= kAll[i].barrier;
  }
  return all;
}

const std::string& VoidNamespaces::why_not(uint32_t barrier) const {
  static const std::string nothing;
  for (int i = 0; i < kKinds; ++i) {
    if (kAll[i].barrier == barrier) return why_not_[i];
  }
  return nothing;
}

std::vector<PassedFd> VoidNamespaces::to_pass(uint32_t barriers) const {
  std::vector<PassedFd> fds;
  for (int i = 0; i < kKinds; ++i) {
    if ((barriers & kAll[i].barrier) != 0 && fds_[i] >= 0) fds.push_back({kAll[i].role, fds_[i]});
  }
  return fds;
}

}  // namespace volley
