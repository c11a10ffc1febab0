#include "devices/io_bus.h"

#include <algorithm>
#include <cinttypes>

namespace volley {

Status IoBus::attach(uint64_t base, uint64_t length, IoDevice& device, const char* name) {
  if (length == 0 || base + length < base) {
    return Status::error("device %s has an impossible range %#" PRIx64 "+%#" PRIx64, name, base, length);
  }
  for (size_t i = 0; i < count_; ++i) {
    const Entry& other = entries_[i];
    if (base < other.base + other.length && other.base < base + length) {
      return Status::error("device %s at %#" PRIx64 " overlaps device %s", name, base, other.name);
    }
  }
  if (count_ == kCapacity) return Status::error("no room on the bus for device %s, it holds %zu", name, kCapacity);
  Entry& entry = entries_[count_++];
  entry.base = base;
  entry.length = length;
  entry.device = &device;
  entry.name = name;
  return Status::ok();
}

bool IoBus::read(uint64_t address, std::span<uint8_t> data) {
  Entry* entry = find(address, data.size());
  if (entry == nullptr) {
    std::fill(data.begin(), data.end(), uint8_t{0xff});
    return false;
  }
  MutexLock lock(entry->mutex);
  entry->device->read(address - entry->base, data);
  return true;
}

bool IoBus::write(uint64_t address, std::span<const uint8_t> data) {
  Entry* entry = find(address, data.size());
  if (entry == nullptr) return false;
  MutexLock lock(entry->mutex);
  entry->device->write(address - entry->base, data);
  return true;
}

IoBus::Entry* IoBus::find(uint64_t address, uint64_t length) {
  for (size_t i = 0; i < count_; ++i) {
    Entry& entry = entries_[i];
    if (address < entry.base) continue;
    const uint64_t offset = address - entry.base;
    if (offset < entry.length && length <= entry.length - offset) return &entry;
  }
  return nullptr;
}

}  // namespace volley
