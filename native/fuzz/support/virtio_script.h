#pragma once

#include <cstdint>

namespace volley::fuzz {

// What a guest may do in one step of a script of VirtioBench; read from one byte, modulo kStepCount. The numbers are in
// committed seeds: new steps come at the end.
enum class Step : uint8_t {
  kBringUp,        // the whole order of section 3.1, with features and queues of the script's choice
  kRequest,        // one request as the device knows them, with what is in it of the script's choice
  kChain,          // any chain of descriptors
  kKick,           // tells the device of a queue and lets it work
  kTurn,           // lets the device's thread go round
  kWriteRegister,  // a register that there is
  kAccess,         // any access to the window, read or write, of any width
  kWriteMemory,
  kDescriptor,  // one descriptor, raw
  kRing,        // index, flags or event of the available ring, or flags of the used one, raw
  kRace,        // a write while the device works
  kTime,
  kHost,  // what the host's side of this device does: frames, connections, answers, limits, failing disks
  kReset,
  kFlood,  // the same request many times: more than one turn of the device takes
  kStepCount,
};

// Where a script's address points, from one byte, modulo kPlaceCount.
enum class Place : uint8_t {
  kBuffers,   // + 16 bits: where nothing else is
  kRings,     // + 16 bits: the queues themselves
  kEndOfLow,  // - 16 bits: the end of memory below the gap
  kHigh,      // + 16 bits: memory above the gap, a part of it behind its end
  kAnywhere,  // 64 bits
  kPlaceCount,
};

// How long a piece is, from one byte, modulo kLengthCount.
enum class Length : uint8_t {
  kByte,      // 8 bits
  kSectors,   // 8 bits * 512
  kWord,      // 16 bits
  kAnything,  // 32 bits
  kLengthCount,
};

inline constexpr uint64_t kRingsAt = 0x1000;
inline constexpr uint64_t kRingStride = 0x3000;
inline constexpr uint64_t kTablesAt = 0x12000;  // indirect ones, of requests
inline constexpr uint64_t kHeadersAt = 0x18000;
inline constexpr uint64_t kBuffersAt = 0x20000;

}  // namespace volley::fuzz
