// What the guest's init reads: frames over vsock, its configuration, the host's answers about metadata, users, paths.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "agent/frames.h"
#include "agent/tree.h"
#include "boot/names.h"
#include "config.h"
#include "metadata.h"
#include "support/demand.h"
#include "support/script.h"
#include "users.h"

namespace volley::fuzz {
namespace {

std::string_view text_of(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void frames(Script& script) {
  const int fd = memfd_create("frames", MFD_CLOEXEC);
  demand(fd >= 0, "no memory file");
  const auto bytes = script.rest();
  demand(write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()) && lseek(fd, 0, SEEK_SET) == 0,
         "no memory file");
  FrameReader reader;
  Frame frame;
  size_t taken = 0;
  do {
    while (reader.next(frame)) taken += sizeof(volley_frame) + frame.body.size();
  } while (!reader.is_broken() && reader.fill(fd) > 0);
  demand(taken <= bytes.size(), "frames hold more than came");
  close(fd);
}

}  // namespace

void run(Script& script) {
  switch (script.choice(5)) {
    case 0:
      return frames(script);
    case 1: {
      std::vector<std::string> problems;
      const Config config = parse_config(text_of(script.rest()), problems);
      hosts_text(config);
      resolver_text(config);
      return;
    }
    case 2:
      parse_answer(text_of(script.rest()));
      return;
    case 3: {
      const std::string user(text_of(script.bytes(script.byte() % 32)));
      const std::string passwd(text_of(script.bytes(script.byte())));
      Credentials found;
      std::string problem;
      find_user(user, passwd, text_of(script.rest()), found, problem);
      return;
    }
    default: {
      const auto path = text_of(script.rest());
      metadata_target(path);
      std::vector<std::string> parts;
      if (!path_parts(path, parts)) return;
      for (const std::string& part : parts) {
        demand(!part.empty() && part != "." && part != ".." && part.find('/') == std::string::npos, "a part of a path");
      }
      joined_path(parts);
      return;
    }
  }
}
}  // namespace volley::fuzz
