#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace volley {

// Appends little-endian values to a buffer of fixed size. What does not fit is dropped and remembered: check `fits()`
// once at the end instead of every call.
class ByteWriter {
 public:
  explicit ByteWriter(std::span<uint8_t> buffer) : buffer_(buffer) {}

  void u8(uint8_t value) { value_of(value); }
  void u16(uint16_t value) { value_of(value); }
  void u32(uint32_t value) { value_of(value); }
  void u64(uint64_t value) { value_of(value); }
  void text(std::string_view characters) { bytes(characters.data(), characters.size()); }
  void zeros(size_t count) {
    for (size_t i = 0; i < count; ++i) u8(0);
  }
  void align(size_t alignment) { zeros((alignment - used_ % alignment) % alignment); }

  size_t position() const { return used_; }
  bool fits() const { return fits_; }
  std::span<uint8_t> written_since(size_t start) const { return buffer_.subspan(start, used_ - start); }
  // Replaces bytes written before.
  template <typename T>
  void patch(size_t position, T value) {
    if (position <= used_ && sizeof value <= used_ - position) memcpy(buffer_.data() + position, &value, sizeof value);
  }

 private:
  template <typename T>
  void value_of(T value) {
    bytes(&value, sizeof value);
  }
  void bytes(const void* source, size_t count) {
    if (!fits_ || count > buffer_.size() - used_) {
      fits_ = false;
      return;
    }
    if (count != 0) memcpy(buffer_.data() + used_, source, count);
    used_ += count;
  }

  std::span<uint8_t> buffer_;
  size_t used_ = 0;
  bool fits_ = true;
};

// Writes ACPI Machine Language, the byte code of a DSDT: only the few objects our devices need. Objects with a body
// take it as a function that writes it.
class AmlWriter {
 public:
  explicit AmlWriter(ByteWriter& out) : out_(out) {}

  // Names are exactly four characters.
  template <typename Body>
  void scope(std::string_view root_name, Body body) {
    out_.u8(0x10);
    sized([&] {
      root_path(root_name);
      body();
    });
  }
  template <typename Body>
  void device(std::string_view name, Body body) {
    out_.u8(0x5b);
    out_.u8(0x82);
    sized([&] {
      out_.text(name);
      body();
    });
  }
  template <typename Body>
  void method(std::string_view name, uint8_t arguments, Body body) {
    out_.u8(0x14);
    sized([&] {
      out_.text(name);
      out_.u8(static_cast<uint8_t>(arguments | kSerialized));
      body();
    });
  }
  // A resource template named _CRS; the body writes descriptors.
  template <typename Body>
  void resources(Body body) {
    declare("_CRS");
    out_.u8(0x11);
    sized([&] {
      out_.u8(0x0b);  // the buffer's size as a word, filled in below
      const size_t size_at = out_.position();
      out_.u16(0);
      body();
      out_.u8(0x79);  // end tag, with a checksum of 0: none
      out_.u8(0);
      out_.patch(size_at, static_cast<uint16_t>(out_.position() - size_at - 2));
    });
  }

  void name_integer(std::string_view name, uint32_t value);
  void name_text(std::string_view name, std::string_view value);
  // An identifier of the form "PNP0501": three capitals and four hexadecimal digits.
  void name_eisa_id(std::string_view name, std::string_view id);
  void name_package(std::string_view name, std::span<const uint32_t> values);
  // Inside a method: does what the body writes if the method's first argument is `value`.
  template <typename Body>
  void if_argument_is(uint32_t value, Body body) {
    out_.u8(0xa0);
    sized([&] {
      out_.u8(0x93);
      out_.u8(0x68);
      integer(value);
      body();
    });
  }
  // Inside a method: tells `\SCOPE.DEVICE` that `event` has happened.
  void notify(std::string_view scope_name, std::string_view device_name, uint8_t event);

  // Descriptors for `resources`.
  void io_ports(uint16_t base, uint8_t count);
  void edge_interrupt(uint32_t gsi);
  void memory(uint32_t base, uint32_t length);

 private:
  static constexpr uint8_t kSerialized = 0x08;

  void declare(std::string_view name);
  void root_path(std::string_view name);
  void integer(uint32_t value);

  // The length of what the body writes, and of itself, goes before it. It is always written in its two-byte form.
  template <typename Body>
  void sized(Body body) {
    const size_t at = out_.position();
    out_.u16(0);
    body();
    const size_t length = out_.position() - at;
    if (length > 0x0fff) too_long();
    out_.patch(at, static_cast<uint8_t>(0x40 | (length & 0x0f)));
    out_.patch(at + 1, static_cast<uint8_t>(length >> 4));
  }
  void too_long();

  ByteWriter& out_;
};

}  // namespace volley
