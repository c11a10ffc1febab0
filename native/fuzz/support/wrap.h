#pragma once

// The fuzzers are linked with --wrap for the calls below (see CMakeLists.txt): the VMM's call of f() arrives at
// __wrap_f(), and __real_f() is libc's, or the sanitizer's in front of it.
#define VOLLEY_WRAP(result, name, ...)          \
  extern "C" result __real_##name(__VA_ARGS__); \
  extern "C" result __wrap_##name(__VA_ARGS__); \
  extern "C" result __wrap_##name(__VA_ARGS__)
