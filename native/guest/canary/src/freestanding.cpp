// The two functions the compiler may call on its own.
#include <cstddef>

extern "C" void* memcpy(void* to, const void* from, size_t length) {
  void* result = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(length) : : "memory");
  return result;
}

extern "C" void* memset(void* to, int value, size_t length) {
  void* result = to;
  asm volatile("rep stosb" : "+D"(to), "+c"(length) : "a"(value) : "memory");
  return result;
}
