// The files of one VMM in its directory: the page file and the control socket.
#ifndef VOLLEY_BINDING_VMM_FILES_H
#define VOLLEY_BINDING_VMM_FILES_H

#include <sys/types.h>

#include <string>

#include "base/unique_fd.h"
#include "result.h"
#include "volley_abi.h"

namespace volley {

/// Opens a directory of a VMM. Everything in it is reached through the descriptor, so that moving a parent folder or a
/// path longer than a socket address makes no difference.
Result<UniqueFd> OpenVmmDirectory(const std::string& path);

Result<UniqueFd> OpenPages(int directory);

/// Connects to the control socket in `directory` without waiting.
Result<UniqueFd> ConnectControl(int directory);

/// Where guests connect to port P of the host: the socket `vsock.sock_P` of a listener in the VMM's directory.
std::string VsockPortName(uint32_t port);

/// `pages`, `control.sock` and `vsock.sock` of a VMM that is being launched; removed again unless kept.
class NewVmmFiles {
 public:
  static Result<NewVmmFiles> Make(const std::string& path);
  ~NewVmmFiles();
  NewVmmFiles(NewVmmFiles&& other) noexcept;
  NewVmmFiles& operator=(NewVmmFiles&&) = delete;

  /// Writes the configuration and makes room for the statistics, so that a full tmpfs shows now and not as a SIGBUS.
  Result<bool> WriteConfig(const volley_config& config);

  /// Names the process that the page file is handed to.
  Result<bool> WritePid(pid_t pid);
  /// The listening socket that the VMM's vsock device accepts connections on.
  Result<UniqueFd> MakeVsock();

  int directory() const { return directory_.get(); }
  int pages() const { return pages_.get(); }
  int listener() const { return listener_.get(); }
  void Keep();

 private:
  NewVmmFiles() = default;

  UniqueFd directory_;
  UniqueFd pages_;
  UniqueFd listener_;
  bool made_pages_ = false;
  bool made_socket_ = false;
  bool made_vsock_ = false;
};

/// Removes what NewVmmFiles made, for a launch that is given up after it succeeded.
void RemoveVmmFiles(const std::string& path);

}  // namespace volley

#endif
