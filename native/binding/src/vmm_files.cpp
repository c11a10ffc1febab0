#include "vmm_files.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>

namespace volley {
namespace {

constexpr char kPagesName[] = "pages";
constexpr char kSocketName[] = "control.sock";
constexpr char kVsockName[] = "vsock.sock";

// A socket address holds 107 bytes, a data folder may be deeper. Through /proc the address is always short.
sockaddr_un SocketAddress(int directory, const char* name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", directory, name);
  return address;
}

// A listening socket with a file of its own. Non-blocking: the VMM shares it, and must not hang in accept when a caller
// went away in between.
Result<UniqueFd> Listen(int directory, const char* name, int type, int backlog, bool* made) {
  UniqueFd fd(socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.is_open()) return FailedCall(errno, "cannot make a socket");
  // The mode of the socket file comes from the socket's own inode, so it is right from its first moment on.
  if (fchmod(fd.get(), 0600) < 0) return FailedCall(errno, std::string("cannot set the mode of ") + name);
  const sockaddr_un address = SocketAddress(directory, name);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
    return FailedCall(errno, std::string("cannot bind ") + name);
  }
  *made = true;
  if (listen(fd.get(), backlog) < 0) return FailedCall(errno, std::string("cannot listen on ") + name);
  return fd;
}

}  // namespace

std::string VsockPortName(uint32_t port) { return std::string(kVsockName) + '_' + std::to_string(port); }

Result<UniqueFd> OpenVmmDirectory(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd.is_open()) return FailedCall(errno, "cannot open the microVM's directory " + path);
  return fd;
}

Result<UniqueFd> OpenPages(int directory) {
  UniqueFd fd(openat(directory, kPagesName, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd.is_open()) return FailedCall(errno, "cannot open the page file");
  struct stat info {};
  if (fstat(fd.get(), &info) < 0) return FailedCall(errno, "cannot examine the page file");
  if (!S_ISREG(info.st_mode)) return Failure{0, "the page file is not a regular file"};
  return fd;
}

Result<UniqueFd> ConnectControl(int directory) {
  UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.is_open()) return FailedCall(errno, "cannot make a socket");
  const sockaddr_un address = SocketAddress(directory, kSocketName);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
    return FailedCall(errno, "cannot connect to the control socket");
  }
  return fd;
}

Result<NewVmmFiles> NewVmmFiles::Make(const std::string& path) {
  auto directory = OpenVmmDirectory(path);
  if (!directory) return directory.failure();
  NewVmmFiles files;
  files.directory_ = std::move(*directory);

  files.pages_ = UniqueFd(openat(files.directory(), kPagesName, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!files.pages_.is_open()) {
    if (errno == EEXIST) return Failure{EEXIST, path + " already holds the page file of another VMM"};
    return FailedCall(errno, "cannot make the page file in " + path);
  }
  files.made_pages_ = true;
  if (ftruncate(files.pages(), VOLLEY_PAGES_SIZE) < 0) return FailedCall(errno, "cannot size the page file");

  // Room for agents that connect after restarts while the VMM is busy.
  auto listener = Listen(files.directory(), kSocketName, SOCK_SEQPACKET, 8, &files.made_socket_);
  if (!listener) return listener.failure();
  files.listener_ = std::move(*listener);
  return files;
}

NewVmmFiles::NewVmmFiles(NewVmmFiles&& other) noexcept
    : directory_(std::move(other.directory_)),
      pages_(std::move(other.pages_)),
      listener_(std::move(other.listener_)),
      made_pages_(std::exchange(other.made_pages_, false)),
      made_socket_(std::exchange(other.made_socket_, false)),
      made_vsock_(std::exchange(other.made_vsock_, false)) {}

NewVmmFiles::~NewVmmFiles() {
  if (made_vsock_) unlinkat(directory(), kVsockName, 0);
  if (made_socket_) unlinkat(directory(), kSocketName, 0);
  if (made_pages_) unlinkat(directory(), kPagesName, 0);
}

Result<bool> NewVmmFiles::WriteConfig(const volley_config& config) {
  const ssize_t n = pwrite(pages(), &config, sizeof config, VOLLEY_CONFIG_OFFSET);
  if (n < 0) return FailedCall(errno, "cannot write the page file");
  if (n != sizeof config) return FailedCall(ENOSPC, "cannot write the page file");
  const uint64_t empty = 0;
  if (pwrite(pages(), &empty, sizeof empty, VOLLEY_STATS_OFFSET) != sizeof empty) {
    return FailedCall(errno, "cannot make room for the statistics page");
  }
  return true;
}

Result<bool> NewVmmFiles::WritePid(pid_t pid) {
  const auto number = static_cast<uint32_t>(pid);
  if (pwrite(pages(), &number, sizeof number, VOLLEY_STATS_OFFSET + offsetof(volley_stats, pid)) != sizeof number) {
    return FailedCall(errno, "cannot write the page file");
  }
  return true;
}

Result<UniqueFd> NewVmmFiles::MakeVsock() { return Listen(directory(), kVsockName, SOCK_STREAM, 128, &made_vsock_); }

void NewVmmFiles::Keep() {
  made_vsock_ = false;
  made_pages_ = false;
  made_socket_ = false;
}

void RemoveVmmFiles(const std::string& path) {
  auto directory = OpenVmmDirectory(path);
  if (!directory) return;
  unlinkat(directory->get(), kVsockName, 0);
  unlinkat(directory->get(), kSocketName, 0);
  unlinkat(directory->get(), kPagesName, 0);
}

}  // namespace volley
