#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

// A few lines instead of a test framework. TEST(name) { ... } registers itself; CHECK* report and go on; the program's
// exit code is 1 if anything failed, and kSkip (CTest's SKIP_RETURN_CODE) if everything was skipped.
namespace check {

inline constexpr int kSkip = 77;

struct Test {
  const char* name;
  void (*body)();
};

inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

inline int& failures() {
  static int count = 0;
  return count;
}

struct Registration {
  Registration(const char* name, void (*body)()) { tests().push_back({name, body}); }
};

template <typename T>
std::string show(const T& value) {
  std::ostringstream out;
  if constexpr (sizeof(T) == 1 && std::is_integral_v<T>) {
    out << static_cast<int>(value);
  } else if constexpr (std::is_enum_v<T>) {
    out << static_cast<long long>(value);
  } else {
    out << value;
  }
  return out.str();
}

inline void report(const char* file, int line, const std::string& what) {
  ++failures();
  fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
}

template <typename A, typename B>
void equal(const char* file, int line, const char* a_text, const char* b_text, const A& a, const B& b) {
  if (a == b) return;
  report(file, line, std::string(a_text) + " is " + show(a) + ", expected " + b_text + " = " + show(b));
}

inline void contains(const char* file, int line, const std::string& text, const std::string& part) {
  if (text.find(part) == std::string::npos) report(file, line, "\"" + text + "\" does not contain \"" + part + "\"");
}

// Runs the tests whose name contains argv[1], or all.
inline int run(int argc, char** argv) {
  const char* filter = argc > 1 ? argv[1] : "";
  int ran = 0;
  for (const Test& test : tests()) {
    if (strstr(test.name, filter) == nullptr) continue;
    const int before = failures();
    test.body();
    ++ran;
    printf("%s %s\n", failures() == before ? "ok  " : "FAIL", test.name);
    fflush(stdout);
  }
  printf("%d tests, %d failed checks\n", ran, failures());
  return failures() == 0 && ran > 0 ? 0 : 1;
}

}  // namespace check

#define TEST(name)                                                      \
  static void test_##name();                                            \
  static const check::Registration register_##name(#name, test_##name); \
  static void test_##name()
#define CHECK(condition)                                                          \
  do {                                                                            \
    if (!(condition)) check::report(__FILE__, __LINE__, "not true: " #condition); \
  } while (false)
#define CHECK_EQ(a, b) check::equal(__FILE__, __LINE__, #a, #b, (a), (b))
#define CHECK_CONTAINS(text, part) check::contains(__FILE__, __LINE__, (text), (part))
// Leaves the test when it makes no sense to go on.
#define REQUIRE(condition)                                                       \
  do {                                                                           \
    if (!(condition)) {                                                          \
      check::report(__FILE__, __LINE__, "not true, test given up: " #condition); \
      return;                                                                    \
    }                                                                            \
  } while (false)
