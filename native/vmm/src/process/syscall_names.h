#pragma once

#include <cstddef>
#include <cstdint>

namespace volley {

// What the x86-64 system call of this number is called; null if it is not known. Safe in signal handlers.
const char* syscall_name(uint64_t number);

}  // namespace volley
