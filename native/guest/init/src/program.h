#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace volley {

struct ProgramSpec {
  std::vector<std::string> args;  // at least one
  std::vector<std::string> env;   // NAME=value; a later one wins
  std::string user;               // see find_user
  std::string cwd;                // empty: /
  bool make_cwd = false;          // make the folder when it is not there
};

// What a program gets as its descriptors 0, 1 and 2. They stay the caller's.
struct Stdio {
  int in = -1;
  int out = -1;
  int err = -1;
  bool is_terminal = false;  // `in` becomes its controlling terminal
};

struct Started {
  pid_t pid = -1;  // also its process group and session
  int error = 0;   // why it does not run, and
  std::string problem;
};

// Starts a program in a session of its own. The image's files say who the user is; HOME and PATH are set when nobody
// did.
Started start_program(const ProgramSpec& spec, const Stdio& stdio);

}  // namespace volley
