#include "metadata.h"

#include "vmm/test/support/check.h"

namespace volley {
namespace {

TEST(keys_are_quoted) {
  CHECK_EQ(metadata_target(""), "/v1/metadata");
  CHECK_EQ(metadata_target("team/role"), "/v1/metadata/team/role");
  CHECK_EQ(metadata_target("a b\r\n?"), "/v1/metadata/a%20b%0D%0A%3F");
}

TEST(answers_are_read) {
  const auto plain = parse_answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
  REQUIRE(plain.has_value());
  CHECK_EQ(plain->status, 200u);
  CHECK_EQ(plain->body, "hi");
  const auto chunked =
      parse_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\nA\r\n0123456789\r\n0\r\n\r\n");
  REQUIRE(chunked.has_value());
  CHECK_EQ(chunked->body, "hi0123456789");
  CHECK_EQ(parse_answer("HTTP/1.1 404 Not Found\r\n\r\n")->status, 404u);
}

TEST(what_is_no_answer_is_refused) {
  CHECK(!parse_answer(""));
  CHECK(!parse_answer("HTTP/1.1 200 OK\r\n"));
  CHECK(!parse_answer("HTTP/1.1\r\n\r\n"));
  CHECK(!parse_answer("SSH-2.0 200 OK\r\n\r\n"));
  CHECK(!parse_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\nx"));
  CHECK(!parse_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi"));
}

}  // namespace
}  // namespace volley
