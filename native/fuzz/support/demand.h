#pragma once

#include <cstdio>
#include <cstdlib>

namespace volley::fuzz {

// What must hold whatever the input is: libFuzzer keeps an input that breaks it as a finding.
inline void demand(bool holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "FINDING: %s\n", what);
  abort();
}

}  // namespace volley::fuzz
