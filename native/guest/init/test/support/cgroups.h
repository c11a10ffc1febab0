#pragma once

#include <sys/types.h>

#include <atomic>
#include <string>

namespace volley::test {

// /sys/fs/cgroup of a guest: a branch of the machine's own unified hierarchy, so that nothing outside of it is ever
// frozen. Gone, with all that run in it, at the end of the scope.
class Cgroups {
 public:
  Cgroups();
  Cgroups(const Cgroups&) = delete;
  Cgroups& operator=(const Cgroups&) = delete;
  ~Cgroups();

  // Said on stderr where there is no unified hierarchy; the test has nothing to look at then.
  bool is_there() const { return is_there_; }

 private:
  std::string branch_;
  bool is_there_ = false;
};

// A program that counts without end, in a group below /sys/fs/cgroup.
class CountingProgram {
 public:
  explicit CountingProgram(const std::string& group);
  CountingProgram(const CountingProgram&) = delete;
  CountingProgram& operator=(const CountingProgram&) = delete;
  ~CountingProgram();

  // Waits for it to count on; false when it has not in five seconds.
  bool runs() const;
  // Looks for long enough to see one that runs: it counts every millisecond.
  bool stands_still() const;

 private:
  std::atomic<unsigned>* count_;
  pid_t pid_;
};

}  // namespace volley::test
