// The files of a snapshot: a header and sections that may be anything, and a device that goes on from what they say.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "block/crc32c.h"
#include "snapshot/file_bytes.h"
#include "snapshot/state_reader.h"
#include "snapshot/state_writer.h"
#include "support/descriptors.h"
#include "support/virtio_bench.h"

namespace volley::fuzz {
namespace {

constexpr uint32_t kTypes[] = {VOLLEY_DEVICE_RNG, VOLLEY_DEVICE_BALLOON};

class Quiet final : public DeviceScript {
 public:
  std::vector<Piece> request(Script& script, VirtioBench& bench, uint32_t) override {
    return {{bench.address(script), bench.length(script), true}};
  }
  void host(Script&, VirtioBench&) override {}
};

// As the script has it, over what is sound: the way past the first check.
template <typename T>
void change(Script& script, T& value) {
  for (uint8_t changes = script.byte() % 8; changes != 0; --changes) {
    const size_t at = script.take<uint16_t>() % sizeof(value);
    const auto bytes = script.bytes(script.byte() % 16);
    std::copy_n(bytes.begin(), std::min(bytes.size(), sizeof(value) - at), reinterpret_cast<uint8_t*>(&value) + at);
  }
}

// A state file with one section, of a device that its driver has set up.
UniqueFd state_file(Script& script, const MmioTransport::State& sound) {
  UniqueFd file(memfd_create("state", MFD_CLOEXEC));
  MmioTransport::State state = sound;
  change(script, state);
  static uint8_t room[64 * 1024];
  StateWriter writer(file.get(), room);
  writer.header().vcpus = 1;
  writer.header().memory_bytes = 64 << 20;
  demand(writer.add(VOLLEY_SECTION_DEVICE, 0, bytes_of(state)).is_ok(), "a section was not written");
  demand(writer.finish().is_ok(), "a header was not written");
  volley_snapshot_header header = writer.header();
  change(script, header);
  // Without the right checksum nobody looks any further.
  if (script.flag()) header.checksum = header_checksum(header);
  demand(pwrite(file.get(), &header, sizeof(header), 0) == sizeof(header), "a header was not changed");
  return file;
}

}  // namespace

void run(Script& script) {
  const DescriptorScope descriptors(true);
  restart_time();
  volley_device config{};
  config.type = kTypes[script.choice(2)];
  if (config.type == VOLLEY_DEVICE_BALLOON) config.flags = VOLLEY_BALLOON_STATISTICS | VOLLEY_BALLOON_REPORTING;
  VirtioBench bench(config.type, config, {});
  demand(bench.is_open(), "a device was refused");
  MmioTransport::State sound;
  demand(bench.transport().save(&sound) == 0, "a device that does nothing is not at rest");
  sound.status = 0x0f;
  sound.driver_features = 1ull << 32 | 1ull << 29;
  for (uint32_t i = 0; i < sound.queue_count; ++i) {
    const uint64_t at = 0x10000 + 0x10000 * i;
    sound.queues[i] = {
        .descriptors = at, .available = at + 0x4000, .used = at + 0x8000, .size = 16, .position = 0, .set_up = 1};
  }
  const UniqueFd file = state_file(script, sound);
  StateReader reader;
  if (!reader.open(file.get()).is_ok()) return;
  const volley_snapshot_header& header = reader.header();
  uint64_t end = 0;
  for (uint32_t i = 0; i < header.extent_count; ++i) {
    const volley_snapshot_extent& extent = header.extents[i];
    demand(extent.offset >= end && extent.length <= header.memory_bytes - extent.offset, "an extent outside of memory");
    end = extent.offset + extent.length;
  }
  MmioTransport::State state;
  if (!reader.read(VOLLEY_SECTION_DEVICE, 0, bytes_of(state)).is_ok()) return;
  if (!bench.transport().restore(state, 0).is_ok()) return;
  Quiet requests;
  bench.run(script, requests);
}
}  // namespace volley::fuzz
