#include "virtio/device_loop.h"

#include <sys/eventfd.h>

#include <mutex>
#include <semaphore>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "support/check.h"

namespace volley {
namespace {

constexpr uint64_t kLong = 30'000'000'000;

uint64_t in_a_while() { return monotonic_ns() + kLong; }

// A loop's thread lives as long as the process: so does everything it touches.
template <typename T, typename... Arguments>
T& keep(Arguments&&... arguments) {
  static std::vector<T*>& kept = *new std::vector<T*>;
  return *kept.emplace_back(new T(std::forward<Arguments>(arguments)...));
}

DeviceLoop& new_loop(uint32_t number = 0) {
  auto& loop = keep<DeviceLoop>();
  if (!loop.create(DeviceLoop::Kind::kDisk, number).is_ok()) abort();
  return loop;
}

struct Counter final : EventHandler {
  explicit Counter(const WakeFd& source) : fd(source) {}
  void ready(uint32_t) override {
    fd.drain();
    ++calls;
    thread = std::this_thread::get_id();
    called.release();
  }
  const WakeFd& fd;
  std::atomic<int> calls{0};
  std::thread::id thread;
  std::counting_semaphore<> called{0};
};

struct Work final : LoopTask {
  void run() override {
    ++runs;
    thread = std::this_thread::get_id();
  }
  int runs = 0;
  std::thread::id thread;
};

TEST(handlers_hear_of_their_descriptors) {
  DeviceLoop& loop = new_loop();
  auto& fd = keep<WakeFd>();
  REQUIRE(fd.create().is_ok());
  auto& counter = keep<Counter>(fd);
  CHECK(loop.add(fd.get(), EPOLLIN, counter).is_ok());
  CHECK(!loop.add(fd.get(), EPOLLIN, counter).is_ok());
  fd.signal();  // before the start: not lost
  REQUIRE(loop.start().is_ok());
  counter.called.acquire();
  CHECK(counter.thread != std::this_thread::get_id());
  fd.signal();
  counter.called.acquire();
  CHECK(loop.pause(in_a_while()));
}

TEST(tasks_run_on_the_loops_thread_also_when_it_is_paused) {
  DeviceLoop& loop = new_loop();
  Work early;
  loop.run_and_wait(early);
  CHECK_EQ(early.runs, 1);
  CHECK(early.thread == std::this_thread::get_id());
  REQUIRE(loop.start().is_ok());
  Work running;
  loop.run_and_wait(running);
  CHECK_EQ(running.runs, 1);
  CHECK(running.thread != std::this_thread::get_id());
  REQUIRE(loop.pause(in_a_while()));
  Work paused;
  loop.run_and_wait(paused);
  CHECK_EQ(paused.runs, 1);
  CHECK(paused.thread == running.thread);
}

TEST(a_paused_loop_calls_no_handler) {
  DeviceLoop& loop = new_loop();
  auto& fd = keep<WakeFd>();
  REQUIRE(fd.create().is_ok());
  auto& counter = keep<Counter>(fd);
  REQUIRE(loop.add(fd.get(), EPOLLIN, counter).is_ok());
  REQUIRE(loop.start().is_ok());
  for (int i = 0; i < 200; ++i) {
    REQUIRE(loop.pause(in_a_while()));
    const int before = counter.calls;
    fd.signal();
    Work work;
    loop.run_and_wait(work);  // the loop had every chance to go wrong
    CHECK_EQ(counter.calls.load(), before);
    loop.resume();
    counter.called.acquire();
  }
  CHECK(loop.pause(in_a_while()));
  CHECK(loop.pause(in_a_while()));  // twice is once
  loop.resume();
  loop.resume();
  fd.signal();
  counter.called.acquire();
}

TEST(a_pause_that_comes_too_late_is_taken_back) {
  struct Slow final : EventHandler {
    void ready(uint32_t) override {
      fd.drain();
      entered.release();
      leave.acquire();
    }
    WakeFd fd;
    std::binary_semaphore entered{0};
    std::binary_semaphore leave{0};
  };
  DeviceLoop& loop = new_loop();
  auto& slow = keep<Slow>();
  REQUIRE(slow.fd.create().is_ok());
  REQUIRE(loop.add(slow.fd.get(), EPOLLIN, slow).is_ok());
  REQUIRE(loop.start().is_ok());
  slow.fd.signal();
  slow.entered.acquire();
  CHECK(!loop.pause(monotonic_ns() + 1'000'000));
  slow.leave.release();
  slow.fd.signal();  // it goes on by itself
  slow.entered.acquire();
  slow.leave.release();
  CHECK(loop.pause(in_a_while()));
}

TEST(many_threads_have_tasks_done) {
  DeviceLoop& loop = new_loop();
  REQUIRE(loop.start().is_ok());
  struct Add final : LoopTask {
    explicit Add(int& to) : total(to) {}
    void run() override { ++total; }
    int& total;
  };
  int total = 0;
  std::mutex pausing;  // one thread at a time may, see the header
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 500; ++k) {
        Add add(total);
        loop.run_and_wait(add);
        if (k % 50 == 0) {
          const std::lock_guard lock(pausing);
          if (!loop.pause(in_a_while())) abort();
          loop.resume();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(total, 2000);
}

// Two descriptors are ready at once and the handler of the first removes the second.
TEST(a_removed_handler_is_not_called_any_more) {
  struct Remover final : EventHandler {
    Remover(DeviceLoop& loop, const WakeFd& own, std::binary_semaphore& called)
        : loop_(loop), own_(own), called_(called) {}
    void ready(uint32_t) override {
      own_.drain();
      ++calls;
      loop_.remove(other_fd->get(), *other);
      called_.release();
    }
    DeviceLoop& loop_;
    const WakeFd& own_;
    std::binary_semaphore& called_;
    const WakeFd* other_fd = nullptr;
    Remover* other = nullptr;
    int calls = 0;
  };
  for (int round = 0; round < 20; ++round) {
    DeviceLoop& loop = new_loop();
    auto& called = keep<std::binary_semaphore>(0);
    auto& a_fd = keep<WakeFd>();
    auto& b_fd = keep<WakeFd>();
    REQUIRE(a_fd.create().is_ok() && b_fd.create().is_ok());
    auto& a = keep<Remover>(loop, a_fd, called);
    auto& b = keep<Remover>(loop, b_fd, called);
    a.other = &b;
    a.other_fd = &b_fd;
    b.other = &a;
    b.other_fd = &a_fd;
    REQUIRE(loop.add(a_fd.get(), EPOLLIN, a).is_ok() && loop.add(b_fd.get(), EPOLLIN, b).is_ok());
    a_fd.signal();
    b_fd.signal();
    REQUIRE(loop.start().is_ok());
    called.acquire();
    Work work;
    loop.run_and_wait(work);
    CHECK_EQ(a.calls + b.calls, 1);
  }
}

}  // namespace
}  // namespace volley
