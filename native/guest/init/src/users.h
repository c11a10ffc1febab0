#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

namespace volley {

// Whom a program runs as.
struct Credentials {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary
  std::string home = "/";
};

// Finds the user that an OCI image or an exec names: `name`, `uid`, `name:group`, `uid:gid`; empty is root. `passwd`
// and `group` are the texts of /etc/passwd and /etc/group. A number need not be listed there, a name must. A group that
// is named stands alone; otherwise the user's own group and those it is a member of count. Returns false and says why.
bool find_user(std::string_view user, std::string_view passwd, std::string_view group, Credentials& found,
               std::string& problem);

}  // namespace volley
