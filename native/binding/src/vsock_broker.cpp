#include "vsock_broker.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "clock.h"
#include "vmm_files.h"

namespace volley {
namespace {

// A socket address holds 107 bytes, a folder may be deeper. Through /proc the address is always short.
VsockBroker::Connection ConnectIn(const std::string& directory, const std::string& name) {
  const UniqueFd folder(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder.is_open()) return {errno, {}};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const int length =
      snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", folder.get(), name.c_str());
  if (length >= static_cast<int>(sizeof address.sun_path)) return {ENAMETOOLONG, {}};
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.is_open()) return {errno, {}};
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) return {errno, {}};
  return {0, std::move(fd)};
}

}  // namespace

VsockBroker::Connection VsockBroker::Connect(const std::string& directory, const std::string& id, uint32_t port) const {
  Connection own = ConnectIn(directory, VsockPortName(port));
  if (own.error != ENOENT) return own;
  const auto service = services_.find(port);
  if (service == services_.end()) return own;
  const size_t slash = service->second.rfind('/');
  Connection connection = ConnectIn(service->second.substr(0, slash + 1), service->second.substr(slash + 1));
  if (connection.error != 0) return connection;
  const std::string caller = id + '\n';
  if (send(connection.socket.get(), caller.data(), caller.size(), MSG_DONTWAIT | MSG_NOSIGNAL) !=
      static_cast<ssize_t>(caller.size())) {
    return {ECONNREFUSED, {}};
  }
  return connection;
}

int AnswerVsock(int control, uint32_t request, const VsockBroker::Connection& connection) {
  volley_message message{};
  message.type = VOLLEY_CMD_VSOCK_ANSWER;
  message.request_id = request;
  // To a guest it is all the same why there is nobody.
  message.status = connection.error == 0 ? 0 : ECONNREFUSED;
  message.time_ns = MonotonicNs();
  iovec part{&message, sizeof message};
  alignas(cmsghdr) char control_data[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (connection.error == 0) {
    header.msg_control = control_data;
    header.msg_controllen = sizeof control_data;
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = connection.socket.get();
    memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  }
  ssize_t n = 0;
  do {
    n = sendmsg(control, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  return n < 0 ? errno : 0;
}

}  // namespace volley
