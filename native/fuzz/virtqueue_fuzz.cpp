// The queue by itself: a device that does all that devices do with it, in any order, on rings that hold anything.
#include <vector>

#include "support/demand.h"
#include "support/racing_guest.h"
#include "support/script.h"
#include "support/virtio_bench.h"
#include "virtio/virtqueue.h"

namespace volley::fuzz {
namespace {

constexpr uint64_t kRingsBytes = 0x4000;

// Looks at each byte that the chain says is the guest's: the sanitizer knows which are.
void use(const GuestMemory& memory, Chain& chain) {
  uint64_t readable = 0;
  uint64_t writable = 0;
  for (const GuestBuffer& buffer : chain.readable()) readable += buffer.length;
  for (const GuestBuffer& buffer : chain.writable()) writable += buffer.length;
  demand(readable == chain.readable_bytes && writable == chain.writable_bytes, "a chain counts its bytes wrong");
  demand(size_t{chain.readable_count} + chain.writable_count <= Chain::kMaxBuffers, "a chain is too long");
  const uint8_t* const start = memory.host_base();
  for (size_t i = 0; i < size_t{chain.readable_count} + chain.writable_count; ++i) {
    const GuestBuffer& buffer = chain.buffers[i];
    const auto offset = static_cast<uint64_t>(buffer.data - start);
    demand(buffer.length != 0 && offset < memory.size() && buffer.length <= memory.size() - offset,
           "a buffer lies outside of the guest's memory");
  }
}

}  // namespace

void run(Script& script) {
  const GuestMemory& memory = fresh_guest_memory();
  forget_races();
  // How the driver laid it out.
  const uint8_t how = script.byte();
  QueueLayout layout;
  layout.size = (how & 1) != 0 ? script.take<uint16_t>() : static_cast<uint16_t>(1u << (script.byte() % 9));
  // At the start of memory; or at its very end, the descriptors last, so that one too many is nobody's.
  const GuestRegion& last = memory.regions().back();
  const uint64_t table_bytes = 16ull * layout.size;
  const uint64_t ring_bytes = (12 + 10ull * layout.size + 15) / 16 * 16;
  const bool at_end = (how & 128) != 0 && table_bytes + ring_bytes <= last.size;
  const uint64_t end = last.guest_address + last.size;
  const uint64_t base = at_end ? end - table_bytes - ring_bytes : 0;
  layout.descriptors = (how & 2) != 0 ? script.take<uint64_t>() : at_end ? end - table_bytes : 0;
  layout.available = (how & 4) != 0 ? script.take<uint64_t>() : base + (at_end ? 0 : table_bytes);
  layout.used = (how & 8) != 0 ? script.take<uint64_t>() : (layout.available + 6 + 2ull * layout.size + 3) & ~3ull;
  Virtqueue queue;
  const VmmAtWork at_work(memory);
  if (!queue.set_up(memory, layout, 256, (how & 16) != 0, (how & 32) != 0)) {
    demand(!queue.is_ready(), "a queue is ready that was refused");
    return;
  }
  std::vector<uint16_t> popped;
  Chain chain;
  uint8_t bytes[512];
  unsigned interrupts = 0;
  unsigned waiting = 0;
  for (unsigned steps = 0; !script.is_over() && steps < 512; ++steps) {
    const uint8_t step = script.byte();
    switch (step % 10) {
      case 0:
      case 1: {  // any bytes into the rings, and what else lies there
        const uint64_t at = base + script.take<uint16_t>() % kRingsBytes;
        const auto written = script.bytes(step / 10 == 0 ? 2 : 16);
        [[maybe_unused]] const bool done = memory.write(at, written);
        break;
      }
      case 2:
      case 3: {
        const Virtqueue::Pop result = queue.pop(&chain);
        demand((result == Virtqueue::Pop::kBroken) == queue.is_broken(), "a broken queue goes on");
        if (result != Virtqueue::Pop::kChain) break;
        demand(popped.size() < layout.size, "more requests are under way than there are descriptors");
        popped.push_back(chain.head);
        use(memory, chain);
        demand(chain.copy_out(step, bytes) <= sizeof(bytes) && chain.copy_in(step, bytes) <= sizeof(bytes), "a copy");
        break;
      }
      case 4:
        if (popped.empty()) break;
        queue.push(popped.back(), script.take<uint32_t>());
        popped.pop_back();
        break;
      case 5:
        interrupts += queue.publish() ? 1 : 0;
        break;
      case 6:
        if (popped.empty() || queue.is_broken()) break;
        queue.undo_pop();
        popped.pop_back();
        break;
      case 7:
        queue.disable_kicks();
        break;
      case 8:
        waiting += queue.enable_kicks() ? 1 : 0;
        break;
      case 9: {
        const uint8_t race = script.byte();
        const auto at = script.take<uint16_t>();
        plan_race({.loads = race & 15u,
                   .in_place = (race & 16) != 0,
                   .width = static_cast<uint8_t>(1u << (race >> 6)),
                   .address = (race & 16) != 0 ? at % 16u : base + at % kRingsBytes,
                   .value = script.take<uint32_t>()});
        break;
      }
    }
  }
  demand(interrupts <= 512 && waiting <= 512, "more answers than questions");
}
}  // namespace volley::fuzz
