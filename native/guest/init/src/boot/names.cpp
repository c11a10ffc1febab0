#include "boot/names.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/text.h"

namespace volley {
namespace {

constexpr char kMark[] = "# Written by Volley's init at every start; remove this line to keep a file of your own.\n";

// Whether the image, or somebody in the guest, says what is in this file.
bool is_theirs(const std::string& path) {
  const auto content = read_file(path, 64 * 1024);
  return content && !content->empty() && content->find(kMark) == std::string::npos;
}

void put(const std::string& path, const std::string& content) {
  int error = make_folders("/etc");
  if (error == 0) error = replace_file(path, content, 0644);
  if (error != 0) say("%s", failed("cannot write " + path, error).c_str());
}

std::string address_text(uint32_t address) {
  const in_addr network{htonl(address)};
  char text[INET_ADDRSTRLEN] = "";
  inet_ntop(AF_INET, &network, text, sizeof(text));
  return text;
}

}  // namespace

std::string hosts_text(const Config& config) {
  std::string text = kMark;
  text += "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
  if (!config.hostname.empty()) {
    text += config.interfaces.empty() ? "127.0.1.1" : address_text(config.interfaces[0].address);
    text += "\t" + config.hostname + "\n";
  }
  return text;
}

std::string resolver_text(const Config& config) {
  std::string text = kMark;
  for (const auto& server : config.dns) text += "nameserver " + server + "\n";
  return text;
}

void write_names(const Config& config) {
  if (!config.hostname.empty()) {
    if (sethostname(config.hostname.data(), config.hostname.size()) != 0) {
      say("%s", failed("cannot set the host name", errno).c_str());
    }
    put("/etc/hostname", config.hostname + "\n");
  }
  if (!is_theirs("/etc/hosts")) put("/etc/hosts", hosts_text(config));
  if (!config.dns.empty() || !is_theirs("/etc/resolv.conf")) put("/etc/resolv.conf", resolver_text(config));
}

}  // namespace volley
