#include "agent/put_session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <vector>

#include "agent/tree.h"
#include "base/files.h"
#include "base/text.h"
#include "base/unique_fd.h"

namespace volley {
namespace {

// A file that is being written under a name of its own and takes its place when it is whole.
struct OpenFile {
  UniqueFd fd;
  UniqueFd folder;
  std::string fresh_name;
  std::string name;
  std::string path;
  volley_entry entry{};
  uint64_t missing = 0;
};

class Put {
 public:
  explicit Put(int connection, FrameReader& reader) : connection_(connection), reader_(reader) {}
  ~Put() { drop_file(); }

  // The sentence of the result; `error` says whether it went well.
  std::string run(std::string_view path, int& error) {
    if (!find_place(path) || !take_all()) {
      error = error_ == 0 ? EIO : error_;
      return problem_;
    }
    error = 0;
    return format("%llu entries", static_cast<unsigned long long>(entries_));
  }

  // Nobody is there any more to tell.
  bool is_broken() const { return is_broken_; }

 private:
  bool refuse(int error, std::string problem) {
    error_ = error;
    problem_ = std::move(problem);
    return false;
  }
  bool refuse_errno(std::string_view doing) {
    const int error = errno;
    return refuse(error, failed(doing, error));
  }

  // Decides what the entries' paths are relative to; abi/volley_guest.h says how.
  bool find_place(std::string_view given) {
    std::string path(given);
    if (!given.starts_with('/') || path.size() > kLongestPath || given.find('\0') != std::string_view::npos) {
      return refuse(EINVAL, "the path to copy to must be absolute");
    }
    base_.reset(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (base_.is_open()) return true;
    if (errno != ENOENT && errno != ENOTDIR) return refuse_errno(path);
    const bool is_folder = path.ends_with('/');
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    const size_t slash = path.rfind('/');
    const std::string above = is_folder ? path : path.substr(0, slash == 0 ? 1 : slash);
    if (const int error = make_folders(above); error != 0) return refuse(error, failed("cannot make " + above, error));
    base_.reset(open(above.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!base_.is_open()) return refuse_errno(above);
    if (is_folder) return true;
    new_name_ = path.substr(slash + 1);
    if (new_name_ == "." || new_name_ == "..") return refuse(EINVAL, path + " is not there");
    return true;
  }

  // Where an entry goes, as parts below base_; none for the folder that is there already.
  bool place_of(std::string_view path, std::vector<std::string>& parts) {
    if (path.size() > kLongestPath || !path_parts(path, parts)) {
      return refuse(EINVAL, "refused, because it would leave the folder that is copied to: " + std::string(path));
    }
    if (new_name_.empty()) return true;
    if (parts.empty()) {
      parts.push_back(new_name_);
      return true;
    }
    if (old_name_.empty()) old_name_ = parts[0];
    if (parts[0] != old_name_) return refuse(ENOTDIR, "more than one thing to copy, to a path that is no folder");
    parts[0] = new_name_;
    return true;
  }

  bool take_all() {
    for (;;) {
      Frame frame;
      if (!reader_.next(frame)) {
        if (reader_.is_broken()) return refuse(EPROTO, "a frame is too long");
        if (reader_.fill(connection_) > 0) continue;
        is_broken_ = true;
        return refuse(ECONNRESET, "the connection ended");
      }
      switch (frame.type) {
        case VOLLEY_GUEST_ENTRY:
          if (!take_entry(frame.body)) return false;
          break;
        case VOLLEY_GUEST_DATA:
          if (!take_data(frame.body)) return false;
          break;
        case VOLLEY_GUEST_END:
          if (file_) return refuse(EPROTO, file_->path + " is not whole");
          return true;
        default:
          return refuse(EPROTO, "this does not belong into a PUT");
      }
    }
  }

  bool take_entry(std::string_view body) {
    volley_entry entry{};
    if (!read_number(body, entry) || body.size() - sizeof(entry) != uint64_t{entry.path_length} + entry.target_length) {
      return refuse(EPROTO, "an entry is broken");
    }
    if (file_) return refuse(EPROTO, file_->path + " is not whole");
    const std::string_view path = body.substr(sizeof(entry), entry.path_length);
    const std::string target(body.substr(sizeof(entry) + entry.path_length));
    std::vector<std::string> parts;
    if (!place_of(path, parts)) return false;
    if (target.find('\0') != std::string::npos) return refuse(EINVAL, "a link's target has a NUL byte");
    ++entries_;
    if (parts.empty()) return entry.kind == VOLLEY_ENTRY_FOLDER || refuse(EISDIR, "the path to copy to is a folder");

    const std::string name = parts.back();
    const std::string shown = joined_path(parts);
    const bool is_top = parts.size() == 1;
    parts.pop_back();
    UniqueFd folder = open_folder_beneath(base_.get(), parts);
    if (!folder.is_open()) return refuse_errno(shown);
    switch (entry.kind) {
      case VOLLEY_ENTRY_FILE:
        return open_file(std::move(folder), name, shown, entry);
      case VOLLEY_ENTRY_FOLDER:
        if (!take_folder(folder.get(), name, entry)) return refuse_errno(shown);
        // What follows may be named from here, when the copied folder itself goes by `.`.
        if (!new_name_.empty() && is_top && path_is_dot(path)) return enter(name, shown);
        return true;
      case VOLLEY_ENTRY_LINK:
        return take_link(folder.get(), name, shown, target, entry);
      case VOLLEY_ENTRY_HARD_LINK:
        return take_hard_link(folder.get(), name, shown, target);
      default:
        return refuse(EINVAL, shown + " is of a kind that cannot be copied");
    }
  }

  static bool path_is_dot(std::string_view path) {
    std::vector<std::string> parts;
    return path_parts(path, parts) && parts.empty();
  }

  bool enter(const std::string& name, const std::string& shown) {
    base_ = open_beneath(base_.get(), name, O_PATH | O_DIRECTORY);
    new_name_.clear();
    return base_.is_open() || refuse_errno(shown);
  }

  // Not being root, which is a test's agent only, one cannot give files away.
  static bool own(int folder, const char* name, const volley_entry& entry) {
    return geteuid() != 0 || fchownat(folder, name, entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) == 0;
  }

  static bool take_folder(int folder, const std::string& name, const volley_entry& entry) {
    if (mkdirat(folder, name.c_str(), 0700) != 0) {
      if (errno != EEXIST) return false;
      struct stat status {};
      if (fstatat(folder, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return false;
      if (S_ISLNK(status.st_mode)) return open_beneath(folder, name, O_PATH | O_DIRECTORY).is_open();
      if (!S_ISDIR(status.st_mode)) {
        if (unlinkat(folder, name.c_str(), 0) != 0 || mkdirat(folder, name.c_str(), 0700) != 0) return false;
      }
    }
    return own(folder, name.c_str(), entry) && fchmodat(folder, name.c_str(), entry.mode & 07777, 0) == 0;
  }

  std::string fresh_name() {
    return format(".volley-new-%d-%llu", getpid(), static_cast<unsigned long long>(entries_));
  }

  bool take_link(int folder, const std::string& name, const std::string& shown, const std::string& target,
                 const volley_entry& entry) {
    const std::string fresh = fresh_name();
    if (symlinkat(target.c_str(), folder, fresh.c_str()) != 0) return refuse_errno(shown);
    if (own(folder, fresh.c_str(), entry) && renameat(folder, fresh.c_str(), folder, name.c_str()) == 0) return true;
    const int error = errno;
    unlinkat(folder, fresh.c_str(), 0);
    errno = error;
    return refuse_errno(shown);
  }

  bool take_hard_link(int folder, const std::string& name, const std::string& shown, const std::string& target) {
    std::vector<std::string> parts;
    if (!place_of(target, parts)) return false;
    if (parts.empty()) return refuse(EINVAL, shown + " names a folder as its file");
    const std::string other = parts.back();
    parts.pop_back();
    UniqueFd from = open_beneath(base_.get(), joined_path(parts), O_PATH | O_DIRECTORY);
    const std::string fresh = fresh_name();
    if (!from.is_open() || linkat(from.get(), other.c_str(), folder, fresh.c_str(), 0) != 0) return refuse_errno(shown);
    // rename does nothing when both are the same file.
    const bool renamed = renameat(folder, fresh.c_str(), folder, name.c_str()) == 0;
    const int error = errno;
    unlinkat(folder, fresh.c_str(), 0);
    errno = error;
    return renamed || refuse_errno(shown);
  }

  bool open_file(UniqueFd folder, const std::string& name, const std::string& shown, const volley_entry& entry) {
    OpenFile file;
    file.fresh_name = fresh_name();
    file.fd.reset(openat(folder.get(), file.fresh_name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file.fd.is_open()) return refuse_errno(shown);
    file.folder = std::move(folder);
    file.name = name;
    file.path = shown;
    file.entry = entry;
    file.missing = entry.size;
    file_ = std::move(file);
    return file_->missing > 0 || close_file();
  }

  bool take_data(std::string_view bytes) {
    if (!file_ || bytes.size() > file_->missing) return refuse(EPROTO, "there is more of a file than was told");
    if (const int error = write_all(file_->fd.get(), bytes); error != 0) {
      return refuse(error, failed(file_->path, error));
    }
    file_->missing -= bytes.size();
    return file_->missing > 0 || close_file();
  }

  bool close_file() {
    const volley_entry& entry = file_->entry;
    const int fd = file_->fd.get();
    timespec times[2]{};
    times[0].tv_nsec = UTIME_NOW;
    times[1].tv_sec = static_cast<time_t>(entry.modified);
    const bool is_whole =
        (geteuid() != 0 || fchown(fd, entry.uid, entry.gid) == 0) && fchmod(fd, entry.mode & 07777) == 0 &&
        futimens(fd, times) == 0 &&
        renameat(file_->folder.get(), file_->fresh_name.c_str(), file_->folder.get(), file_->name.c_str()) == 0;
    if (!is_whole) return refuse_errno(file_->path);
    file_.reset();
    return true;
  }

  void drop_file() {
    if (file_) unlinkat(file_->folder.get(), file_->fresh_name.c_str(), 0);
  }

  int connection_;
  FrameReader& reader_;
  UniqueFd base_;
  std::string new_name_;  // the one thing that is copied is called this; empty: names stay
  std::string old_name_;  // what the stream calls it
  std::optional<OpenFile> file_;
  uint64_t entries_ = 0;
  int error_ = 0;
  std::string problem_;
  bool is_broken_ = false;
};

}  // namespace

void run_put(int connection, FrameReader& reader, std::string_view path) {
  Put put(connection, reader);
  int error = 0;
  const std::string sentence = put.run(path, error);
  if (!put.is_broken()) send_frame(connection, VOLLEY_GUEST_RESULT, result_body(error, sentence));
}

}  // namespace volley
