#include "boot/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/text.h"
#include "base/unique_fd.h"

namespace volley {
namespace {

constexpr int kCompressed = 4;  // MODULE_INIT_COMPRESSED_FILE

bool is_compressed(const std::string& path) { return path.ends_with(".xz") || path.ends_with(".zst"); }

}  // namespace

void load_modules(const std::vector<std::string>& paths) {
  for (const auto& path : paths) {
    const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.is_open()) {
      if (errno != ENOENT) say("%s", failed("module " + path, errno).c_str());
      continue;
    }
    const int flags = is_compressed(path) ? kCompressed : 0;
    if (syscall(SYS_finit_module, file.get(), "", flags) == 0 || errno == EEXIST) continue;
    say("%s", failed("module " + path, errno).c_str());
  }
}

}  // namespace volley
