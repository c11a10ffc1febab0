// The smallest thing that can fail a test: prints what was expected where, and ends.
#ifndef VOLLEY_BINDING_TEST_CHECK_H
#define VOLLEY_BINDING_TEST_CHECK_H

#include <cstdio>
#include <cstdlib>

#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) {                                                         \
      fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                                  \
    }                                                                           \
  } while (false)

#endif
