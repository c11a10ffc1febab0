#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace volley {

// The body of an HTTP/1.1 answer to a request that closed its connection, and its status. Nothing: it is no such
// answer.
struct HttpAnswer {
  unsigned status = 0;
  std::string body;
};
std::optional<HttpAnswer> parse_answer(std::string_view bytes);

// The target of the request for one key, or for all when there is none.
std::string metadata_target(std::string_view key);

// `metadata [KEY]`: prints what the host keeps for this microVM. Returns the program's exit status.
int print_metadata(int argc, char** argv);

}  // namespace volley
