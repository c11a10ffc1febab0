// init: PID 1 of Linux guests. See abi/volley_guest.h for what it is told and what it answers, and docs/guest.md.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <string_view>

#include "guest.h"
#include "metadata.h"
#include "test_agent.h"

int main(int argc, char** argv) {
  const std::string_view self = argc > 0 ? argv[0] : "";
  if (self.substr(self.rfind('/') + 1) == "metadata") return volley::print_metadata(argc, argv);
  if (getpid() == 1) volley::run_guest();
  std::string_view socket;
  std::string_view config;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--agent-on") == 0) socket = argv[i + 1];
    if (strcmp(argv[i], "--config") == 0) config = argv[i + 1];
  }
  if (!socket.empty()) return volley::run_test_agent(std::string(socket), std::string(config));
  fprintf(stderr, "This is PID 1 of Volley's Linux guests. For tests: init --agent-on SOCKET [--config FILE]\n");
  return 2;
}
