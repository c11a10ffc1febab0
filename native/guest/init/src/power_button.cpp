#include "power_button.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace volley {
namespace {

constexpr char kFamily[] = "acpi_event";
constexpr char kGroup[] = "acpi_mc_group";
constexpr uint16_t kEventAttribute = 1;
constexpr std::string_view kButtonClass = "button/power";

// Calls `visit(type, value)` for each attribute.
template <typename Visit>
void for_each_attribute(std::string_view bytes, Visit visit) {
  while (bytes.size() >= sizeof(nlattr)) {
    nlattr header;
    memcpy(&header, bytes.data(), sizeof(header));
    if (header.nla_len < sizeof(header) || header.nla_len > bytes.size()) return;
    visit(header.nla_type & NLA_TYPE_MASK, bytes.substr(sizeof(header), header.nla_len - sizeof(header)));
    bytes.remove_prefix(std::min<size_t>(NLA_ALIGN(header.nla_len), bytes.size()));
  }
}

// The attributes of the generic netlink message at the front of `bytes`.
std::string_view attributes_of(std::string_view bytes) {
  nlmsghdr header;
  if (bytes.size() < NLMSG_HDRLEN + GENL_HDRLEN) return {};
  memcpy(&header, bytes.data(), sizeof(header));
  if (header.nlmsg_type == NLMSG_ERROR || header.nlmsg_len < NLMSG_HDRLEN + GENL_HDRLEN) return {};
  return bytes.substr(0, header.nlmsg_len).substr(NLMSG_HDRLEN + GENL_HDRLEN);
}

std::string family_request() {
  struct {
    nlmsghdr message;
    genlmsghdr generic;
    nlattr attribute;
    char name[NLA_ALIGN(sizeof(kFamily))];
  } request{};
  request.message.nlmsg_len = sizeof(request);
  request.message.nlmsg_type = GENL_ID_CTRL;
  request.message.nlmsg_flags = NLM_F_REQUEST;
  request.generic.cmd = CTRL_CMD_GETFAMILY;
  request.generic.version = 1;
  request.attribute.nla_len = static_cast<uint16_t>(NLA_HDRLEN + sizeof(kFamily));
  request.attribute.nla_type = CTRL_ATTR_FAMILY_NAME;
  memcpy(request.name, kFamily, sizeof(kFamily));
  return {reinterpret_cast<const char*>(&request), sizeof(request)};
}

// 0: there is no such group.
uint32_t group_in(std::string_view answer) {
  uint32_t found = 0;
  for_each_attribute(attributes_of(answer), [&](int type, std::string_view groups) {
    if (type != CTRL_ATTR_MCAST_GROUPS) return;
    for_each_attribute(groups, [&](int, std::string_view group) {
      uint32_t id = 0;
      bool is_ours = false;
      for_each_attribute(group, [&](int field, std::string_view value) {
        if (field == CTRL_ATTR_MCAST_GRP_ID && value.size() == sizeof(id)) memcpy(&id, value.data(), sizeof(id));
        if (field == CTRL_ATTR_MCAST_GRP_NAME) is_ours = value.substr(0, value.find('\0')) == kGroup;
      });
      if (is_ours) found = id;
    });
  });
  return found;
}

}  // namespace

int PowerButton::open() {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC));
  if (!socket.is_open()) return errno;
  const std::string request = family_request();
  char answer[8192];
  if (send(socket.get(), request.data(), request.size(), 0) < 0) return errno;
  const ssize_t length = recv(socket.get(), answer, sizeof(answer), 0);
  if (length < 0) return errno;
  const uint32_t group = group_in({answer, static_cast<size_t>(length)});
  if (group == 0) return ENOENT;
  if (setsockopt(socket.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) != 0) return errno;
  socket_ = std::move(socket);
  return 0;
}

bool PowerButton::take() {
  bool pressed = false;
  char bytes[4096];
  for (;;) {
    const ssize_t length = recv(socket_.get(), bytes, sizeof(bytes), MSG_DONTWAIT);
    if (length <= 0) return pressed;
    for_each_attribute(attributes_of({bytes, static_cast<size_t>(length)}), [&](int type, std::string_view event) {
      if (type == kEventAttribute) pressed |= event.substr(0, event.find('\0')) == kButtonClass;
    });
  }
}

}  // namespace volley
