#include "boot/aml.h"

#include <limits>

namespace volley {
namespace {

uint32_t hex_digit(char c) { return static_cast<uint32_t>(c >= 'A' ? c - 'A' + 10 : c - '0'); }

}  // namespace

void AmlWriter::declare(std::string_view name) {
  out_.u8(0x08);
  out_.text(name);
}

void AmlWriter::root_path(std::string_view name) {
  out_.u8('\\');
  out_.text(name);
}

void AmlWriter::integer(uint32_t value) {
  if (value <= 1) {
    out_.u8(static_cast<uint8_t>(value));
  } else if (value <= 0xff) {
    out_.u8(0x0a);
    out_.u8(static_cast<uint8_t>(value));
  } else {
    out_.u8(0x0c);
    out_.u32(value);
  }
}

void AmlWriter::name_integer(std::string_view name, uint32_t value) {
  declare(name);
  integer(value);
}

void AmlWriter::name_text(std::string_view name, std::string_view value) {
  declare(name);
  out_.u8(0x0d);
  out_.text(value);
  out_.u8(0);
}

void AmlWriter::name_eisa_id(std::string_view name, std::string_view id) {
  // Five bits for each letter, four for each digit, written with the most significant byte first.
  uint32_t packed = 0;
  for (size_t i = 0; i < 3; ++i) packed = (packed << 5) | static_cast<uint32_t>(id[i] - 'A' + 1);
  for (size_t i = 3; i < 7; ++i) packed = (packed << 4) | hex_digit(id[i]);
  declare(name);
  out_.u8(0x0c);
  out_.u32(__builtin_bswap32(packed));
}

void AmlWriter::name_package(std::string_view name, std::span<const uint32_t> values) {
  declare(name);
  out_.u8(0x12);
  sized([&] {
    out_.u8(static_cast<uint8_t>(values.size()));
    for (const uint32_t value : values) integer(value);
  });
}

void AmlWriter::notify(std::string_view scope_name, std::string_view device_name, uint8_t event) {
  out_.u8(0x86);
  out_.u8('\\');
  out_.u8(0x2e);  // a path of two names
  out_.text(scope_name);
  out_.text(device_name);
  integer(event);
}

void AmlWriter::io_ports(uint16_t base, uint8_t count) {
  out_.u8(0x47);
  out_.u8(0x01);  // all 16 address bits are decoded
  out_.u16(base);
  out_.u16(base);
  out_.u8(1);
  out_.u8(count);
}

void AmlWriter::edge_interrupt(uint32_t gsi) {
  out_.u8(0x89);
  out_.u16(6);
  out_.u8(0x03);  // consumer, edge triggered, active high, exclusive
  out_.u8(1);
  out_.u32(gsi);
}

void AmlWriter::memory(uint32_t base, uint32_t length) {
  out_.u8(0x86);
  out_.u16(9);
  out_.u8(1);  // read-write
  out_.u32(base);
  out_.u32(length);
}

void AmlWriter::too_long() {
  // Nothing this writer is used for comes near; make the whole table unusable rather than wrong.
  out_.zeros(std::numeric_limits<uint16_t>::max());
}

}  // namespace volley
