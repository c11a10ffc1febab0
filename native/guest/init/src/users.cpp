#include "users.h"

#include <optional>

#include "base/text.h"

namespace volley {
namespace {

constexpr uint64_t kLargestId = 0xfffffffeu;

struct UserLine {
  std::string_view name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::string_view home;
};

// name:password:uid:gid:comment:home:shell
std::optional<UserLine> user_in(std::string_view line) {
  const auto parts = split(line, ':');
  if (parts.size() < 6) return std::nullopt;
  const auto uid = parse_number(parts[2], kLargestId);
  const auto gid = parse_number(parts[3], kLargestId);
  if (!uid || !gid) return std::nullopt;
  return UserLine{parts[0], static_cast<uid_t>(*uid), static_cast<gid_t>(*gid), parts[5]};
}

struct GroupLine {
  std::string_view name;
  gid_t gid = 0;
  std::string_view members;
};

// name:password:gid:member,member
std::optional<GroupLine> group_in(std::string_view line) {
  const auto parts = split(line, ':');
  if (parts.size() < 3) return std::nullopt;
  const auto gid = parse_number(parts[2], kLargestId);
  if (!gid) return std::nullopt;
  return GroupLine{parts[0], static_cast<gid_t>(*gid), parts.size() > 3 ? parts[3] : std::string_view()};
}

bool is_member(std::string_view members, std::string_view name) {
  for (const auto member : split(members, ',')) {
    if (member == name) return true;
  }
  return false;
}

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

}  // namespace

bool find_user(std::string_view user, std::string_view passwd, std::string_view group, Credentials& found,
               std::string& problem) {
  const size_t colon = user.find(':');
  const std::string_view who = user.substr(0, colon);
  const std::string_view whose = colon == std::string_view::npos ? std::string_view() : user.substr(colon + 1);
  found = Credentials{};

  const auto uid = who.empty() ? std::optional<uint64_t>(0) : parse_number(who, kLargestId);
  std::optional<UserLine> line;
  for (const auto text : split(passwd, '\n')) {
    line = user_in(text);
    // A name of digits only is a number, as it is everywhere else.
    if (line && (uid ? line->uid == *uid : line->name == who)) break;
    line.reset();
  }
  if (!line && !uid) {
    problem = "the image has no user " + quoted(who) + " in its /etc/passwd";
    return false;
  }
  found.uid = line ? line->uid : static_cast<uid_t>(*uid);
  found.gid = line ? line->gid : 0;
  if (line && !line->home.empty()) found.home = line->home;

  if (!whose.empty()) {
    if (const auto gid = parse_number(whose, kLargestId)) {
      found.gid = static_cast<gid_t>(*gid);
      return true;
    }
    for (const auto text : split(group, '\n')) {
      if (const auto named = group_in(text); named && named->name == whose) {
        found.gid = named->gid;
        return true;
      }
    }
    problem = "the image has no group " + quoted(whose) + " in its /etc/group";
    return false;
  }
  if (!line) return true;
  for (const auto text : split(group, '\n')) {
    const auto other = group_in(text);
    if (!other || other->gid == found.gid || !is_member(other->members, line->name)) continue;
    if (found.groups.size() < 1024) found.groups.push_back(other->gid);
  }
  return true;
}

}  // namespace volley
