// The parts of the vsock device.
#include <set>

#include "support/check.h"
#include "vsock/byte_ring.h"
#include "vsock/connect_line.h"
#include "vsock/vsock_queue.h"
#include "vsock/vsock_table.h"

namespace volley {
namespace {

struct Nobody final : VsockConnectionOwner {
  void connection_ready(VsockConnection&, uint32_t) override {}
};

std::string verdict(const std::string& text) {
  const ConnectLine line = parse_connect_line({text.data(), text.size()});
  if (line.state == ConnectLine::State::kWrong) return "wrong";
  if (line.state == ConnectLine::State::kIncomplete) return "incomplete";
  return std::to_string(line.port) + "+" + std::to_string(line.bytes);
}

TEST(connect_lines_are_told_apart) {
  CHECK_EQ(verdict(""), "incomplete");
  CHECK_EQ(verdict("CONN"), "incomplete");
  CHECK_EQ(verdict("CONNECT "), "incomplete");
  CHECK_EQ(verdict("CONNECT 12"), "incomplete");
  CHECK_EQ(verdict("CONNECT 1024\n"), "1024+13");
  CHECK_EQ(verdict("CONNECT 0\nrest that is not ours, and long"), "0+10");
  CHECK_EQ(verdict("CONNECT 4294967294\n"), "4294967294+19");
  CHECK_EQ(verdict("CONNECT 4294967295\n"), "wrong");
  CHECK_EQ(verdict("CONNECT 99999999999999999999\n"), "wrong");
  CHECK_EQ(verdict("CONNECT 00000000000000000000000000001\n"), "wrong");
  CHECK_EQ(verdict("CONNECT \n"), "wrong");
  CHECK_EQ(verdict("CONNECT -1\n"), "wrong");
  CHECK_EQ(verdict("CONNECT 1\r\n"), "wrong");
  CHECK_EQ(verdict("connect 1\n"), "wrong");
  CHECK_EQ(verdict("GET / HTTP/1.1\r\n"), "wrong");
}

TEST(a_byte_ring_wraps_and_keeps_order) {
  uint8_t memory[10];
  ByteRing ring;
  uint8_t in = 0;
  uint8_t out = 0;
  size_t total = 0;
  for (size_t step = 0; step < 200; ++step) {
    iovec pieces[2];
    const size_t added = ring.room(memory, step % 11, pieces);
    size_t grown = 0;
    for (size_t i = 0; i < added; ++i) {
      for (size_t k = 0; k < pieces[i].iov_len; ++k) static_cast<uint8_t*>(pieces[i].iov_base)[k] = in++;
      grown += pieces[i].iov_len;
    }
    ring.grow(grown);
    CHECK(ring.count() <= sizeof(memory));
    const size_t present = ring.content(memory, pieces);
    size_t taken = 0;
    for (size_t i = 0; i < present; ++i) {
      for (size_t k = 0; k < pieces[i].iov_len && taken < step % 7; ++k, ++taken) {
        CHECK_EQ(static_cast<uint8_t*>(pieces[i].iov_base)[k], out++);
      }
    }
    ring.shrink(memory, taken);
    total += taken;
  }
  CHECK(total > 400);
}

TEST(the_table_finds_connections_by_slot_and_ports) {
  VsockTable table;
  REQUIRE(table.prepare().is_ok());
  Nobody nobody;
  std::vector<VsockConnection*> all;
  for (uint32_t i = 0; i < VsockTable::kMaxConnections; ++i) {
    VsockConnection* connection = table.make(nobody);
    REQUIRE(connection != nullptr);
    connection->ports = {i % 7, i / 7};
    table.index(*connection);
    all.push_back(connection);
  }
  CHECK(table.is_full());
  CHECK(table.make(nobody) == nullptr);
  for (uint32_t i = 0; i < all.size(); ++i) {
    CHECK(table.find({i % 7, i / 7}) == all[i]);
    CHECK(table.at(all[i]->slot) == all[i]);
  }
  CHECK(table.find({9, 9}) == nullptr);
  CHECK(table.at(1023) == nullptr);
  for (uint32_t i = 0; i < all.size(); i += 2) table.release(*all[i]);
  for (uint32_t i = 0; i < all.size(); ++i) CHECK((table.find({i % 7, i / 7}) != nullptr) == (i % 2 != 0));
  const uint32_t life = all[1]->generation;
  VsockConnection* again = table.make(nobody);
  CHECK(again != nullptr && again->generation == life + 1);
  CHECK_EQ(table.count(), 512);
}

TEST(a_slot_is_clean_for_its_next_connection) {
  VsockTable table;
  REQUIRE(table.prepare().is_ok());
  Nobody nobody;
  VsockConnection* first = table.make(nobody);
  table.buffer(*first)[5] = 77;
  first->buffer_used = true;
  first->credit_asked = true;
  table.release(*first);
  VsockConnection* second = table.make(nobody);
  CHECK_EQ(second->slot, 0);
  CHECK_EQ(table.buffer(*second)[5], 0);
  CHECK(!second->credit_asked);
}

TEST(speakers_come_in_order_and_once) {
  VsockTable table;
  REQUIRE(table.prepare().is_ok());
  Nobody nobody;
  VsockConnection* c[4];
  for (auto& each : c) each = table.make(nobody);
  VsockQueue queue(table);
  CHECK(queue.is_empty());
  for (const int i : {2, 0, 3, 1, 0}) queue.append(*c[i]);
  queue.remove(*c[3]);
  queue.remove(*c[3]);
  for (const int i : {2, 0, 1}) {
    CHECK(&queue.front() == c[i]);
    queue.remove(queue.front());
  }
  CHECK(queue.is_empty());
  queue.append(*c[3]);
  CHECK(&queue.front() == c[3]);
}

TEST(credit_survives_the_wrap_and_lies) {
  VsockTable table;
  REQUIRE(table.prepare().is_ok());
  Nobody nobody;
  VsockConnection& connection = *table.make(nobody);
  VsockHeader header{};
  header.buffer_bytes = 1000;
  header.forwarded_bytes = 0xfffffff0;
  connection.sent = 0x10;
  connection.take_credit(header);
  CHECK_EQ(connection.credit(), 1000u - 0x20);
  header.forwarded_bytes = 0x11;  // more than was ever sent
  connection.take_credit(header);
  CHECK_EQ(connection.credit(), 0u);
  header.buffer_bytes = 0;
  header.forwarded_bytes = 0x10;
  connection.take_credit(header);
  CHECK_EQ(connection.credit(), 0u);
  header.buffer_bytes = 0xffffffff;
  connection.take_credit(header);
  CHECK_EQ(connection.credit(), 0xffffffffu);
}

TEST(refusals_are_bounded) {
  VsockRefusals refusals;
  uint32_t added = 0;
  while (!refusals.is_full()) refusals.add({++added, 0});
  refusals.add({1000, 0});
  for (uint32_t i = 1; i <= added; ++i) CHECK_EQ(refusals.take().host, i);
  CHECK(refusals.is_empty());
}

}  // namespace
}  // namespace volley
