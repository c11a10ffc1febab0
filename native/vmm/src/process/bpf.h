#pragma once

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

// A small assembler for seccomp filters: tables of rules become classic BPF at compile time, so that the programs lie
// in read-only memory that all VMMs share.
namespace volley::bpf {

// One condition on an argument: (its low 32 bits & mask) == value. Every argument that is checked here is one that the
// kernel takes as 32 bits, or of which it ignores or refuses the others.
struct Condition {
  uint8_t argument;
  uint32_t mask;
  uint32_t value;
};

// Allows `call` if all its conditions hold. Several rules for one call follow each other: one of them is enough.
struct Rule {
  uint32_t call;
  uint32_t condition_count;
  Condition conditions[3];
  // 0 = allow; else the call fails with this errno instead of being allowed.
  uint16_t refuse_with = 0;
};

constexpr bool operator==(const Condition& a, const Condition& b) {
  return a.argument == b.argument && a.mask == b.mask && a.value == b.value;
}
constexpr bool operator==(const Rule& a, const Rule& b) {
  if (a.call != b.call || a.condition_count != b.condition_count || a.refuse_with != b.refuse_with) return false;
  for (uint32_t i = 0; i < a.condition_count; ++i) {
    if (!(a.conditions[i] == b.conditions[i])) return false;
  }
  return true;
}

constexpr Rule allow(long call) { return {static_cast<uint32_t>(call), 0, {}, 0}; }
constexpr Rule allow(long call, Condition a) { return {static_cast<uint32_t>(call), 1, {a}, 0}; }
constexpr Rule allow(long call, Condition a, Condition b) { return {static_cast<uint32_t>(call), 2, {a, b}, 0}; }
constexpr Rule allow(long call, Condition a, Condition b, Condition c) {
  return {static_cast<uint32_t>(call), 3, {a, b, c}, 0};
}
// For calls that a libc tries and can do without.
constexpr Rule refuse(long call, int error_number) {
  return {static_cast<uint32_t>(call), 0, {}, static_cast<uint16_t>(error_number)};
}

constexpr uint32_t kAllBits = 0xffffffffu;
constexpr Condition is(uint8_t argument, unsigned long value) {
  return {argument, kAllBits, static_cast<uint32_t>(value)};
}
// No bits but these.
constexpr Condition only(uint8_t argument, unsigned long bits) { return {argument, ~static_cast<uint32_t>(bits), 0}; }

// Rules in which those of one call stand together.
struct Table {
  static constexpr size_t kMax = 192;

  std::array<Rule, kMax> rules{};
  size_t count = 0;
  bool sound = true;

  constexpr operator std::span<const Rule>() const { return {rules.data(), count}; }
  constexpr void add(std::span<const Rule> more) {
    for (const Rule& rule : more) add(rule);
  }
  constexpr void add(const Rule& rule) {
    size_t place = count;
    for (size_t i = 0; i < count; ++i) {
      if (rules[i] == rule) return;
      if (rules[i].call == rule.call) place = i + 1;
    }
    if (count == kMax) {
      sound = false;
      return;
    }
    for (size_t i = count; i > place; --i) rules[i] = rules[i - 1];
    rules[place] = rule;
    ++count;
  }
};

template <typename... Lists>
constexpr Table merge(const Lists&... lists) {
  Table table;
  (table.add(std::span<const Rule>(lists)), ...);
  return table;
}

inline constexpr size_t kMaxInstructions = 512;

struct Program {
  std::array<sock_filter, kMaxInstructions> instructions{};
  uint16_t length = 0;
  bool sound = true;  // false if a jump is too long, or a rule can never be reached

  constexpr std::span<const sock_filter> code() const { return {instructions.data(), length}; }
};

namespace detail {

constexpr uint32_t argument_offset(uint8_t argument) {
  return static_cast<uint32_t>(offsetof(seccomp_data, args)) + 8u * argument;  // the low half: little endian
}

class Assembler {
 public:
  constexpr void load(uint32_t offset) { emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset); }
  constexpr void bit_and(uint32_t mask) { emit(BPF_ALU | BPF_AND | BPF_K, 0, 0, mask); }
  constexpr void give(uint32_t action) { emit(BPF_RET | BPF_K, 0, 0, action); }
  // Goes on if equal; the place to go to otherwise is told later.
  constexpr uint16_t unless_equal(uint32_t value) {
    emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, value);
    return static_cast<uint16_t>(program_.length - 1);
  }
  constexpr void skip_one_if_equal(uint32_t value) { emit(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, value); }
  constexpr void land_here(uint16_t jump) {
    const size_t distance = static_cast<size_t>(program_.length) - jump - 1;
    if (distance > 255) program_.sound = false;
    program_.instructions[jump].jf = static_cast<uint8_t>(distance);
  }
  constexpr void broken() { program_.sound = false; }
  constexpr const Program& program() const { return program_; }

 private:
  constexpr void emit(int code, uint8_t jt, uint8_t jf, uint32_t k) {
    if (program_.length == kMaxInstructions) {
      program_.sound = false;
      return;
    }
    program_.instructions[program_.length++] = {static_cast<uint16_t>(code), jt, jf, k};
  }

  Program program_;
};

// The rules of one call. The call's number is in the accumulator, and matches.
constexpr void assemble_call(Assembler* to, std::span<const Rule> rules, uint32_t otherwise) {
  // What is in the accumulator: an argument with a mask, or nothing known.
  bool known = false;
  uint8_t argument = 0;
  uint32_t mask = 0;
  for (const Rule& rule : rules) {
    const uint32_t action = rule.refuse_with == 0 ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | rule.refuse_with;
    uint16_t jumps[3] = {};
    for (uint32_t i = 0; i < rule.condition_count; ++i) {
      const Condition& condition = rule.conditions[i];
      if (!known || argument != condition.argument || mask != condition.mask) {
        to->load(argument_offset(condition.argument));
        if (condition.mask != kAllBits) to->bit_and(condition.mask);
      }
      known = true;
      argument = condition.argument;
      mask = condition.mask;
      jumps[i] = to->unless_equal(condition.value);
    }
    to->give(action);
    for (uint32_t i = 0; i < rule.condition_count; ++i) to->land_here(jumps[i]);
    // Only a rule of one condition leaves the accumulator as it was loaded, whichever way it went.
    known = known && rule.condition_count == 1;
    if (rule.condition_count == 0) {
      if (&rule != &rules.back()) to->broken();
      return;
    }
  }
  to->give(otherwise);
}

}  // namespace detail

// `otherwise` is the action for everything that no rule allows. Calls come in the order of the table, so those that are
// made most often and have conditions come first (the kernel remembers the others).
constexpr Program assemble(std::span<const Rule> rules, uint32_t otherwise) {
  detail::Assembler to;
  to.load(offsetof(seccomp_data, arch));
  to.skip_one_if_equal(AUDIT_ARCH_X86_64);
  to.give(SECCOMP_RET_KILL_PROCESS);  // 32-bit calls have other numbers
  to.load(offsetof(seccomp_data, nr));
  for (size_t first = 0; first < rules.size();) {
    size_t end = first + 1;
    while (end < rules.size() && rules[end].call == rules[first].call) ++end;
    for (size_t later = end; later < rules.size(); ++later) {
      if (rules[later].call == rules[first].call) to.broken();
    }
    const uint16_t other_call = to.unless_equal(rules[first].call);
    detail::assemble_call(&to, rules.subspan(first, end - first), otherwise);
    to.land_here(other_call);
    first = end;
  }
  to.give(otherwise);
  return to.program();
}

}  // namespace volley::bpf
