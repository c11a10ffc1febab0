// The functions the compiler may call on its own. The linker leaves out those that it does not.
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

extern "C" void* memmove(void* to, const void* from, size_t length) {
  if (to <= from) return memcpy(to, from, length);
  auto* target = static_cast<unsigned char*>(to);
  const auto* source = static_cast<const unsigned char*>(from);
  while (length-- > 0) target[length] = source[length];
  return to;
}

extern "C" int memcmp(const void* a, const void* b, size_t length) {
  const auto* left = static_cast<const unsigned char*>(a);
  const auto* right = static_cast<const unsigned char*>(b);
  for (size_t i = 0; i < length; ++i) {
    if (left[i] != right[i]) return left[i] - right[i];
  }
  return 0;
}
