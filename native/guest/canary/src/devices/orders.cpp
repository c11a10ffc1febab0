#include "devices/orders.h"

namespace canary {
namespace {

// Reads a word from left to right.
class Reader {
 public:
  Reader(const char* text, size_t length) : at_(text), end_(text + length) {}

  bool at_end() const { return at_ == end_; }
  bool take(char c) {
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }
  // Whether the rest begins with `key`; takes it if so.
  bool take(const char* key) {
    const char* at = at_;
    for (; *key != '\0'; ++key, ++at) {
      if (at == end_ || *at != *key) return false;
    }
    at_ = at;
    return true;
  }
  // Decimal digits only.
  bool number(uint64_t most, uint64_t* value) {
    uint64_t result = 0;
    const char* start = at_;
    for (; at_ != end_ && *at_ >= '0' && *at_ <= '9'; ++at_) {
      result = result * 10 + static_cast<uint64_t>(*at_ - '0');
      if (result > most) return false;
    }
    *value = result;
    return at_ != start;
  }
  bool address(uint64_t* value) {
    *value = 0;
    for (int i = 0; i < 4; ++i) {
      uint64_t byte = 0;
      if ((i > 0 && !take('.')) || !number(255, &byte)) return false;
      *value = *value << 8 | byte;
    }
    return true;
  }
  void rest(Step* step) {
    step->text = at_;
    step->length = static_cast<size_t>(end_ - at_);
    at_ = end_;
  }

 private:
  const char* at_;
  const char* end_;
};

constexpr uint64_t kMostNumber = 1'000'000'000'000;
constexpr uint64_t kMostPort = 0xffffffff;

// Words that are numbers with commas in between.
constexpr struct {
  const char* key;
  StepKind kind;
  uint8_t fewest;
  uint8_t most;
} kNumberWords[] = {
    {"write=", StepKind::kWrite, 4, 4},
    {"verify=", StepKind::kVerify, 4, 4},
    {"zeros=", StepKind::kZeros, 3, 3},
    {"zero=", StepKind::kZero, 3, 3},
    {"discard=", StepKind::kDiscard, 3, 3},
    {"flush=", StepKind::kFlush, 1, 1},
    {"id=", StepKind::kId, 1, 1},
    {"reads=", StepKind::kReads, 3, 4},
    {"writes=", StepKind::kWrites, 3, 4},
    {"rng=", StepKind::kRng, 1, 1},
    {"freepages=", StepKind::kFreePages, 1, 1},
    {"listen=", StepKind::kListen, 1, 1},
    {"tell=", StepKind::kTell, 1, 1},
    {"wait=", StepKind::kWait, 1, 1},
};

constexpr struct {
  const char* name;
  AttackKind kind;
} kAttacks[] = {
    {"descriptors", AttackKind::kDescriptors},
    {"indirect", AttackKind::kIndirect},
    {"rings", AttackKind::kRings},
    {"random", AttackKind::kRandom},
    {"race", AttackKind::kRace},
    {"kicks", AttackKind::kKicks},
    {"acks", AttackKind::kAcks},
    {"resets", AttackKind::kResets},
    {"config", AttackKind::kConfig},
    {"resetup", AttackKind::kResetup},
    {"mmio", AttackKind::kMmio},
    {"ports", AttackKind::kPorts},
    {"serial", AttackKind::kSerial},
    {"all", AttackKind::kAll},
};

bool parse_numbers(Reader reader, uint8_t fewest, uint8_t most, Step* step) {
  for (uint8_t i = 0; i < most; ++i) {
    if (i >= fewest && reader.at_end()) return true;
    if ((i > 0 && !reader.take(',')) || !reader.number(kMostNumber, &step->numbers[i])) return false;
  }
  return reader.at_end();
}

// net=ADDRESS/PREFIX[,GATEWAY]
bool parse_net(Reader reader, Step* step) {
  if (!reader.address(&step->numbers[0]) || !reader.take('/') || !reader.number(32, &step->numbers[1])) return false;
  if (reader.at_end()) return true;
  return reader.take(',') && reader.address(&step->numbers[2]) && reader.at_end();
}

// ping=ADDRESS[,COUNT]
bool parse_ping(Reader reader, Step* step) {
  step->numbers[1] = 1;
  if (!reader.address(&step->numbers[0])) return false;
  if (reader.at_end()) return true;
  return reader.take(',') && reader.number(kMostNumber, &step->numbers[1]) && reader.at_end();
}

// udp=ADDRESS:PORT,COUNT,BYTES
bool parse_udp(Reader reader, Step* step) {
  return reader.address(&step->numbers[0]) && reader.take(':') && reader.number(65535, &step->numbers[1]) &&
         reader.take(',') && reader.number(kMostNumber, &step->numbers[2]) && reader.take(',') &&
         reader.number(65535, &step->numbers[3]) && reader.at_end();
}

// attack=KIND[,seed=N]
bool parse_attack(Reader reader, Step* step) {
  for (const auto& candidate : kAttacks) {
    Reader rest = reader;
    if (!rest.take(candidate.name)) continue;
    step->numbers[0] = static_cast<uint64_t>(candidate.kind);
    step->numbers[1] = 1;
    if (rest.at_end()) return true;
    if (rest.take(",seed=") && rest.number(kMostNumber, &step->numbers[1]) && rest.at_end()) return true;
  }
  return false;
}

bool parse_step(const char* text, size_t length, Step* step) {
  for (const auto& word : kNumberWords) {
    Reader reader(text, length);
    if (!reader.take(word.key)) continue;
    step->kind = word.kind;
    return parse_numbers(reader, word.fewest, word.most, step);
  }
  Reader reader(text, length);
  const auto is = [&](const char* key, StepKind kind) {
    step->kind = kind;
    return reader.take(key);
  };
  if (is("devices", StepKind::kDevices) || is("balloon", StepKind::kBalloon) || is("cost", StepKind::kCost)) {
    return reader.at_end();
  }
  if (is("net=", StepKind::kNet)) return parse_net(reader, step);
  if (is("ping=", StepKind::kPing)) return parse_ping(reader, step);
  if (is("udp=", StepKind::kUdp)) return parse_udp(reader, step);
  if (is("attack=", StepKind::kAttack)) return parse_attack(reader, step);
  if (is("connect=", StepKind::kConnect)) {
    if (!reader.number(kMostPort, &step->numbers[0]) || !reader.take(',') || reader.at_end()) return false;
    reader.rest(step);
    return true;
  }
  return false;
}

bool is_word(const char* text, size_t length, const char* word) {
  Reader reader(text, length);
  return reader.take(word) && reader.at_end();
}

}  // namespace

bool parse_device_word(const char* text, size_t length, DeviceOrders* orders) {
  if (is_word(text, length, "noevent")) return orders->no_event_index = true;
  if (is_word(text, length, "noindirect")) return orders->no_indirect = true;
  if (orders->count == DeviceOrders::kMostSteps) return false;
  Step& step = orders->steps[orders->count];
  step = {};
  if (!parse_step(text, length, &step)) return false;
  ++orders->count;
  return true;
}

}  // namespace canary
