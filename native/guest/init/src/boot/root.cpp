#include "boot/root.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/text.h"
#include "boot/devices.h"
#include "workload.h"

namespace volley {
namespace {

constexpr int kDeviceTimeoutMs = 10'000;
constexpr char kLower[] = "/volley/lower";
constexpr char kUpper[] = "/volley/upper";
constexpr char kNew[] = "/volley/root";
constexpr int kDeepestFolder = 8;

constexpr unsigned long kPlain = MS_NOSUID | MS_NODEV | MS_NOEXEC;

// Returns 0 or an errno. What is mounted already is fine.
int mount_on(const char* source, const std::string& target, const char* type, unsigned long flags,
             const std::string& options = {}) {
  if (const int error = make_folders(target); error != 0) return error;
  if (mount(source, target.c_str(), type, flags, options.empty() ? nullptr : options.c_str()) == 0) return 0;
  return errno == EBUSY ? 0 : errno;
}

void mount_or_say(const char* source, const std::string& target, const char* type, unsigned long flags,
                  const std::string& options = {}) {
  if (const int error = mount_on(source, target, type, flags, options); error != 0) {
    say("%s", failed("cannot mount " + target, error).c_str());
  }
}

// Removes all that is in a folder, without leaving its file system.
void remove_all_in(UniqueFd folder, dev_t device) {
  DIR* listing = fdopendir(folder.get());
  if (listing == nullptr) return;
  folder.release();
  while (const dirent* one = readdir(listing)) {
    const std::string name = one->d_name;
    if (name == "." || name == "..") continue;
    struct stat status {};
    if (fstatat(dirfd(listing), one->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 || status.st_dev != device) continue;
    if (S_ISDIR(status.st_mode)) {
      UniqueFd inner(openat(dirfd(listing), one->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (inner.is_open()) remove_all_in(std::move(inner), device);
    }
    unlinkat(dirfd(listing), name.c_str(), S_ISDIR(status.st_mode) ? AT_REMOVEDIR : 0);
  }
  closedir(listing);
}

// Programs expect the folders that their image has in /run, with their owners; its files are remains of a run.
void copy_folders(int from, int to, int depth) {
  DIR* listing = fdopendir(from);
  if (listing == nullptr) {
    close(from);
    return;
  }
  while (const dirent* one = readdir(listing)) {
    const std::string name = one->d_name;
    if (name == "." || name == "..") continue;
    struct stat status {};
    if (fstatat(dirfd(listing), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(status.st_mode)) continue;
    if (mkdirat(to, name.c_str(), 0700) != 0) continue;
    const UniqueFd made(openat(to, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!made.is_open() || fchown(made.get(), status.st_uid, status.st_gid) != 0) continue;
    fchmod(made.get(), status.st_mode & 07777);
    const int inner = openat(dirfd(listing), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (inner < 0) continue;
    if (depth < kDeepestFolder) {
      copy_folders(inner, made.get(), depth + 1);
    } else {
      close(inner);
    }
  }
  closedir(listing);
}

void mount_run() {
  const int image = open("/run", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  mount_or_say("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755");
  const UniqueFd run(open("/run", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (image >= 0 && run.is_open()) {
    copy_folders(image, run.get(), 0);
  } else if (image >= 0) {
    close(image);
  }
}

std::string disk_problem(const std::string& device, const std::string& type, int error) {
  std::string problem = failed("cannot mount " + device + " as " + type, error);
  if (error == EINVAL || error == EUCLEAN) problem += "; it holds no such file system, or a damaged one";
  if (error == ENODEV) problem += "; the kernel has no such file system, and no module for it was loaded";
  return problem;
}

int remount_read_only(const std::string& path) {
  return mount(nullptr, path.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0 ? 0 : errno;
}

}  // namespace

void Root::mount_first() {
  mount_or_say("devtmpfs", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755");
  mount_or_say("proc", "/proc", "proc", kPlain);
  mount_or_say("sysfs", "/sys", "sysfs", kPlain);
}

int Root::enter(const Config& config, std::string& problem) {
  std::vector<std::string> devices;
  if (!config.root.empty()) devices.push_back(config.root);
  if (!config.overlay.empty()) devices.push_back(config.overlay);
  for (const auto& disk : config.mounts) devices.push_back(disk.device);
  if (const auto missing = wait_for_devices(devices, kDeviceTimeoutMs); !missing.empty()) {
    problem = format("%s did not come up within %d ms", missing.c_str(), kDeviceTimeoutMs);
    return ENODEV;
  }
  if (config.root.empty()) return 0;
  if (const int error = mount_layers(config, problem); error != 0) return error;
  return switch_to_new_root(problem);
}

int Root::mount_layers(const Config& config, std::string& problem) {
  const std::string type = config.root_type.empty() ? "squashfs" : config.root_type;
  if (const int error = mount_on(config.root.c_str(), kLower, type.c_str(), MS_RDONLY); error != 0) {
    problem = disk_problem(config.root, type, error);
    return error;
  }
  const bool is_kept = !config.overlay.empty();
  const int error = is_kept ? mount_on(config.overlay.c_str(), kUpper, "ext4", 0)
                            : mount_on("tmpfs", kUpper, "tmpfs", 0, "mode=0755");
  if (error != 0) {
    problem = disk_problem(is_kept ? config.overlay : "the writable layer", is_kept ? "ext4" : "tmpfs", error);
    return error;
  }
  const std::string upper = std::string(kUpper) + "/upper";
  const std::string work = std::string(kUpper) + "/work";
  mkdir(upper.c_str(), 0755);
  mkdir(work.c_str(), 0700);
  const std::string options = std::string("lowerdir=") + kLower + ",upperdir=" + upper + ",workdir=" + work;
  if (const int failure = mount_on("overlay", kNew, "overlay", 0, options); failure != 0) {
    problem = failed("cannot put the writable layer over the root file system", failure);
    return failure;
  }
  // The only way to it from inside the new root, and what leave() needs.
  if (is_kept) upper_.reset(open(kUpper, O_PATH | O_DIRECTORY | O_CLOEXEC));
  return 0;
}

int Root::switch_to_new_root(std::string& problem) {
  for (const std::string name : {"/dev", "/proc", "/sys"}) {
    const std::string target = kNew + name;
    if (make_folders(target) != 0 || mount(name.c_str(), target.c_str(), nullptr, MS_MOVE, nullptr) != 0) {
      problem = failed("cannot move " + name + " into the root file system", errno);
      return errno;
    }
  }
  struct stat ram_disk {};
  UniqueFd old(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (chdir(kNew) != 0 || !old.is_open() || fstat(old.get(), &ram_disk) != 0) {
    problem = failed("cannot enter the root file system", errno);
    return errno;
  }
  remove_all_in(std::move(old), ram_disk.st_dev);
  if (mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || chroot(".") != 0 || chdir("/") != 0) {
    problem = failed("cannot enter the root file system", errno);
    return errno;
  }
  return 0;
}

int Root::mount_rest(const Config& config, std::string& problem) {
  mount_run();
  mount_or_say("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666");
  mount_or_say("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
  mount_or_say("mqueue", "/dev/mqueue", "mqueue", kPlain);
  mount_or_say("cgroup2", kCgroups, "cgroup2", kPlain, "nsdelegate");
  make_workload_group();
  for (const auto& [name, target] :
       {std::pair{"/dev/fd", "/proc/self/fd"}, std::pair{"/dev/stdin", "/proc/self/fd/0"},
        std::pair{"/dev/stdout", "/proc/self/fd/1"}, std::pair{"/dev/stderr", "/proc/self/fd/2"}}) {
    [[maybe_unused]] const int ignored = symlink(target, name);
  }
  if (mkdir("/tmp", 01777) == 0) chmod("/tmp", 01777);
  for (const auto& disk : config.mounts) {
    const unsigned long flags = disk.read_only ? MS_RDONLY : 0;
    if (const int error = mount_on(disk.device.c_str(), disk.path, disk.type.c_str(), flags); error != 0) {
      problem = disk_problem(disk.device, disk.type, error) + " on " + disk.path;
      return error;
    }
    disks_.push_back(disk.path);
  }
  return 0;
}

void Root::leave() {
  sync();
  for (auto disk = disks_.rbegin(); disk != disks_.rend(); ++disk) {
    if (umount2(disk->c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) remount_read_only(*disk);
  }
  if (!upper_.is_open()) return;
  // The overlay first: it holds files of its upper layer open.
  remount_read_only("/");
  if (const int error = remount_read_only(format("/proc/self/fd/%d", upper_.get())); error != 0) {
    say("%s",
        failed("the writable layer could not be closed in order; it repairs itself at the next start", error).c_str());
  }
  sync();
}

}  // namespace volley
