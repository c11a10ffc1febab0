#include "cmdline.h"

namespace canary {
namespace {

struct Word {
  const char* text;
  size_t length;

  bool is(const char* expected) const {
    size_t i = 0;
    while (i < length && expected[i] == text[i]) ++i;
    return i == length && expected[i] == '\0';
  }
  // Whether the word starts with `key`; then *value is the rest.
  bool has_key(const char* key, Word* value) const {
    size_t i = 0;
    while (key[i] != '\0') {
      if (i == length || text[i] != key[i]) return false;
      ++i;
    }
    *value = {text + i, length - i};
    return true;
  }
};

// Decimal digits only, at most `maximum`.
bool parse_number(const Word& word, uint64_t maximum, uint64_t* number) {
  if (word.length == 0) return false;
  uint64_t result = 0;
  for (size_t i = 0; i < word.length; ++i) {
    if (word.text[i] < '0' || word.text[i] > '9') return false;
    result = result * 10 + static_cast<uint64_t>(word.text[i] - '0');
    if (result > maximum) return false;
  }
  *number = result;
  return true;
}

bool parse_end(const Word& word, End* end) {
  constexpr struct {
    const char* name;
    End end;
  } kEnds[] = {{"poweroff", End::kPowerOff},
               {"reboot", End::kReboot},
               {"panic", End::kPanic},
               {"triplefault", End::kTripleFault},
               {"hang", End::kHang}};
  for (const auto& candidate : kEnds) {
    if (!word.is(candidate.name)) continue;
    *end = candidate.end;
    return true;
  }
  return false;
}

constexpr uint64_t kMaxNumber = 1'000'000'000;

bool parse_positive(const Word& word, uint64_t* number) {
  return parse_number(word, kMaxNumber, number) && *number != 0;
}

bool parse_word(const Word& word, Orders* orders) {
  Word value{};
  // Firecracker adds the latter to every command line.
  if (word.is("idle") || word.is("pci=off")) return true;
  if (word.is("nostop")) return orders->no_stop = true;
  if (word.is("recheck")) return orders->recheck = true;
  if (word.is("quiet")) return orders->quiet = true;
  if (word.has_key("touch=", &value)) return parse_number(value, kMaxNumber, &orders->touch_mib);
  if (word.has_key("stir=", &value)) return parse_positive(value, &orders->stir_mib);
  if (word.has_key("grow=", &value)) return parse_positive(value, &orders->grow_every_ms);
  if (word.has_key("every=", &value)) return parse_positive(value, &orders->period_ms);
  if (word.has_key("print=", &value)) return parse_number(value, kMaxNumber, &orders->print_lines);
  if (word.has_key("after=", &value)) return parse_number(value, kMaxNumber, &orders->end_after_ms);
  if (word.has_key("exit=", &value)) return parse_end(value, &orders->end);
  if (word.has_key("burn=", &value)) {
    uint64_t percent = 0;
    if (!parse_number(value, 100, &percent)) return false;
    orders->burn_percent = static_cast<uint32_t>(percent);
    return true;
  }
#ifdef CANARY_DEVICES
  return parse_device_word(word.text, word.length, &orders->devices);
#else
  return false;
#endif
}

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n'; }

}  // namespace

BadWord parse_cmdline(const char* cmdline, Orders* orders) {
  const char* at = cmdline;
  for (;;) {
    while (is_blank(*at)) ++at;
    if (*at == '\0') return {};
    const char* start = at;
    while (*at != '\0' && !is_blank(*at)) ++at;
    const Word word{start, static_cast<size_t>(at - start)};
    if (!parse_word(word, orders)) return {word.text, word.length};
  }
}

}  // namespace canary
