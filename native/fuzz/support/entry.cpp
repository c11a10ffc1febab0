#include "support/script.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  volley::fuzz::Script script(data, size);
  volley::fuzz::run(script);
  return 0;
}
