#include "metadata.h"

#include <errno.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "abi/volley_abi.h"
#include "base/files.h"
#include "base/text.h"
#include "base/unique_fd.h"

namespace volley {
namespace {

constexpr size_t kLargestAnswer = 1 << 20;
constexpr time_t kSeconds = 5;

char lower(char letter) { return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter; }

bool has_chunks(std::string_view headers) {
  std::string text;
  for (const char letter : headers) text += lower(letter);
  return text.find("transfer-encoding: chunked") != std::string::npos;
}

std::optional<std::string> unchunked(std::string_view bytes) {
  std::string body;
  for (;;) {
    const size_t end = bytes.find("\r\n");
    if (end == std::string_view::npos || end == 0 || end > 8) return std::nullopt;
    size_t length = 0;
    for (const char letter : bytes.substr(0, end)) {
      const char digit = lower(letter);
      if (digit >= '0' && digit <= '9') {
        length = length * 16 + static_cast<size_t>(digit - '0');
      } else if (digit >= 'a' && digit <= 'f') {
        length = length * 16 + static_cast<size_t>(digit - 'a' + 10);
      } else {
        return std::nullopt;
      }
    }
    bytes.remove_prefix(end + 2);
    if (length == 0) return body;
    if (bytes.size() < length + 2) return std::nullopt;
    body += bytes.substr(0, length);
    bytes.remove_prefix(length + 2);
  }
}

bool is_plain(char letter) {
  return (letter >= '0' && letter <= '9') || (lower(letter) >= 'a' && lower(letter) <= 'z') || letter == '-' ||
         letter == '_' || letter == '.' || letter == '~' || letter == '/';
}

int ask(const std::string& request, std::string& answer) {
  UniqueFd connection(socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!connection.is_open()) return errno;
  const timeval limit{kSeconds, 0};
  setsockopt(connection.get(), AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit, sizeof(limit));
  setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(connection.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = VMADDR_CID_HOST;
  address.svm_port = VOLLEY_VSOCK_PORT_METADATA;
  if (connect(connection.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return errno;
  if (const int error = write_all(connection.get(), request); error != 0) return error;
  char part[4096];
  while (answer.size() < kLargestAnswer) {
    const ssize_t length = read(connection.get(), part, sizeof(part));
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return errno;
    if (length == 0) return 0;
    answer.append(part, static_cast<size_t>(length));
  }
  return EFBIG;
}

}  // namespace

std::optional<HttpAnswer> parse_answer(std::string_view bytes) {
  const size_t end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos || !bytes.starts_with("HTTP/1.") || bytes.size() < 12) return std::nullopt;
  const auto status = parse_number(bytes.substr(9, 3), 999);
  if (!status) return std::nullopt;
  HttpAnswer answer{static_cast<unsigned>(*status), {}};
  const std::string_view body = bytes.substr(end + 4);
  if (!has_chunks(bytes.substr(0, end))) {
    answer.body = body;
    return answer;
  }
  auto whole = unchunked(body);
  if (!whole) return std::nullopt;
  answer.body = std::move(*whole);
  return answer;
}

std::string metadata_target(std::string_view key) {
  std::string target = "/v1/metadata";
  if (!key.empty()) target += '/';
  for (const char letter : key) {
    target += is_plain(letter) ? std::string(1, letter) : format("%%%02X", static_cast<unsigned char>(letter));
  }
  return target;
}

int print_metadata(int argc, char** argv) {
  if (argc > 2) {
    fprintf(stderr, "usage: metadata [KEY]\n");
    return 2;
  }
  const std::string key = argc > 1 ? argv[1] : "";
  const std::string request = "GET " + metadata_target(key) + " HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\r\n";
  std::string bytes;
  if (const int error = ask(request, bytes); error != 0) {
    fprintf(stderr, "metadata: the host does not answer: %s\n", strerror(error));
    return 1;
  }
  const auto answer = parse_answer(bytes);
  if (!answer) {
    fprintf(stderr, "metadata: the host's answer cannot be understood\n");
    return 1;
  }
  if (answer->status == 404) {
    fprintf(stderr, "metadata: there is no %s\n", key.empty() ? "metadata" : key.c_str());
    return 1;
  }
  if (answer->status != 200) {
    fprintf(stderr, "metadata: the host answered %u\n", answer->status);
    return 1;
  }
  std::string body = answer->body;
  if (!body.ends_with('\n') && isatty(STDOUT_FILENO)) body += '\n';
  return write_all(STDOUT_FILENO, body) == 0 ? 0 : 1;
}

}  // namespace volley
