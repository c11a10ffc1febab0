#include "agent/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "vmm/test/support/check.h"

namespace volley {
namespace {

std::string cleaned(std::string_view path) {
  std::vector<std::string> parts;
  return path_parts(path, parts) ? joined_path(parts) : "refused";
}

TEST(paths_stay_relative_and_inside) {
  CHECK_EQ(cleaned("a/b"), "a/b");
  CHECK_EQ(cleaned("./a//b/."), "a/b");
  CHECK_EQ(cleaned("."), ".");
  CHECK_EQ(cleaned(""), ".");
  CHECK_EQ(cleaned("..."), "...");
  CHECK_EQ(cleaned("/a"), "refused");
  CHECK_EQ(cleaned("a/../b"), "refused");
  CHECK_EQ(cleaned(".."), "refused");
  CHECK_EQ(cleaned(std::string_view("a\0b", 3)), "refused");
}

class Folder {
 public:
  Folder() { REQUIRE(mkdtemp(path_) != nullptr); }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string path(const std::string& name) const { return std::string(path_) + "/" + name; }
  UniqueFd open_base() const {
    mkdir(path("base").c_str(), 0755);
    return UniqueFd(open(path("base").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }

 private:
  char path_[32] = "/tmp/volley-tree-XXXXXX";
};

TEST(folders_are_made_below) {
  const Folder folder;
  const UniqueFd base = folder.open_base();
  CHECK(open_folder_beneath(base.get(), {"a", "b", "c"}).is_open());
  CHECK_EQ(access(folder.path("base/a/b/c").c_str(), F_OK), 0);
}

TEST(no_link_leads_out) {
  const Folder folder;
  const UniqueFd base = folder.open_base();
  mkdir(folder.path("outside").c_str(), 0755);
  for (const std::string& target :
       {folder.path("outside"), std::string("../outside"), std::string("/proc/self/root")}) {
    const std::string link = folder.path("base/link");
    unlink(link.c_str());
    REQUIRE(symlink(target.c_str(), link.c_str()) == 0);
    const UniqueFd opened = open_folder_beneath(base.get(), {"link", "made"});
    CHECK(!opened.is_open());
  }
  CHECK(access(folder.path("outside/made").c_str(), F_OK) != 0);
}

TEST(links_inside_are_followed) {
  const Folder folder;
  const UniqueFd base = folder.open_base();
  mkdir(folder.path("base/lib").c_str(), 0755);
  REQUIRE(symlink("lib", folder.path("base/lib64").c_str()) == 0);
  CHECK(open_folder_beneath(base.get(), {"lib64", "made"}).is_open());
  CHECK_EQ(access(folder.path("base/lib/made").c_str(), F_OK), 0);
}

}  // namespace
}  // namespace volley
