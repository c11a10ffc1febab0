#pragma once

#include <cstdint>

#include "console.h"
#include "devices/arena.h"
#include "devices/mmio.h"
#include "devices/queue.h"
#include "life.h"

namespace canary {

enum VirtioId : uint32_t { kNetId = 1, kBlockId = 2, kRngId = 4, kBalloonId = 5, kVsockId = 19 };

// What a driver works with.
struct Bench {
  const Life& life;
  Arena& arena;
  bool event_index;  // negotiate it where offered
  bool indirect;
};

// One virtio device and what every driver does with it.
class Device {
 public:
  Device() = default;
  Device(uint32_t index, uint32_t id) : index_(index), id_(id), window_(index) {}

  uint32_t index() const { return index_; }
  uint32_t id() const { return id_; }
  const Window& window() const { return window_; }
  uint64_t offered() const;
  uint64_t features() const { return features_; }
  bool has(uint32_t bit) const { return (features_ >> bit & 1) != 0; }
  bool running() const { return running_; }

  // Resets the device and agrees on those of `wanted` that it offers. False if it does not accept that.
  bool negotiate(const Bench& bench, uint64_t wanted);
  bool set_up(const Bench& bench, uint32_t index, Queue* queue) const;
  // The driver is ready.
  void start();
  void reset();
  bool is_broken() const { return (window_.read(Window::kStatus) & 0x40) != 0; }

  // Tells the device that its interrupt was seen. True if there was one.
  bool acknowledge() const;

 private:
  uint32_t index_ = 0;
  uint32_t id_ = 0;
  Window window_;
  uint64_t features_ = 0;
  bool running_ = false;
};

// A result line: "canary: WORD NUMBER ok ..." or "canary: WORD NUMBER error ...".
class Result {
 public:
  Result(const char* word, uint64_t number, bool ok) {
    line_.text(word).text(" ").number(number).text(ok ? " ok" : " error");
  }
  Result& value(const char* key, uint64_t number) {
    line_.text(" ").text(key).text("=").number(number);
    return *this;
  }
  Result& text(const char* key, const char* text, size_t length) {
    line_.text(" ").text(key).text("=").text(text, length);
    return *this;
  }
  Result& text(const char* key, const char* string) {
    line_.text(" ").text(key).text("=").text(string);
    return *this;
  }
  void send() { line_.send(); }

 private:
  Line line_;
};

}  // namespace canary
