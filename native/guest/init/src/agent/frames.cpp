#include "agent/frames.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/files.h"

namespace volley {
namespace {

constexpr size_t kReadSize = 32 * 1024;
constexpr int kFarewellMs = 10'000;

}  // namespace

ssize_t FrameReader::fill(int fd) {
  bytes_.erase(0, begin_);
  begin_ = 0;
  const size_t held = bytes_.size();
  bytes_.resize(held + kReadSize);
  ssize_t length = 0;
  do {
    length = read(fd, bytes_.data() + held, kReadSize);
  } while (length < 0 && errno == EINTR);
  bytes_.resize(held + static_cast<size_t>(length > 0 ? length : 0));
  return length;
}

bool FrameReader::next(Frame& frame) {
  volley_frame header;
  const std::string_view rest = std::string_view(bytes_).substr(begin_);
  if (is_broken_ || !read_number(rest, header)) return false;
  if (header.length > VOLLEY_FRAME_MAX) {
    is_broken_ = true;
    return false;
  }
  if (rest.size() - sizeof(header) < header.length) return false;
  frame = Frame{header.type, rest.substr(sizeof(header), header.length)};
  begin_ += sizeof(header) + header.length;
  return true;
}

std::string frame_of(uint8_t type, std::string_view body) {
  const volley_frame header{static_cast<uint32_t>(body.size()), type, 0, 0};
  std::string bytes(bytes_of(header));
  bytes += body;
  return bytes;
}

int send_frame(int fd, uint8_t type, std::string_view body) {
  const volley_frame header{static_cast<uint32_t>(body.size()), type, 0, 0};
  iovec parts[2] = {{const_cast<volley_frame*>(&header), sizeof(header)},
                    {const_cast<char*>(body.data()), body.size()}};
  ssize_t length = 0;
  do {
    length = writev(fd, parts, 2);
  } while (length < 0 && errno == EINTR);
  if (length < 0) return errno;
  const auto sent = static_cast<size_t>(length);
  if (sent < sizeof(header)) {
    if (const int error = write_all(fd, bytes_of(header).substr(sent)); error != 0) return error;
    return write_all(fd, body);
  }
  return write_all(fd, body.substr(sent - sizeof(header)));
}

std::string result_body(int error, std::string_view sentence) {
  std::string body(bytes_of(static_cast<int32_t>(error)));
  body += sentence.substr(0, 4096);
  return body;
}

void finish(int fd) {
  shutdown(fd, SHUT_WR);
  pollfd one{fd, POLLIN, 0};
  char ignored[32 * 1024];
  // Each wait is bounded, and so is what a peer can make us read.
  for (int rounds = 0; rounds < 65'536 && poll(&one, 1, kFarewellMs) == 1; ++rounds) {
    if (read(fd, ignored, sizeof(ignored)) <= 0) return;
  }
}

}  // namespace volley
