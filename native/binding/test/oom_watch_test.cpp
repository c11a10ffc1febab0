#include "oom_watch.h"

#include "check.h"

using namespace volley;

int main() {
  const auto global =
      ParseOomRecord("3,812,77001234,-;Out of memory: Killed process 4711 (volley-vmm) total-vm:1kB, anon-rss:2kB\n");
  CHECK(global && global->pid == 4711 && global->at_us == 77001234);
  const auto cgroup = ParseOomRecord("3,9,5,-;Memory cgroup out of memory: Killed process 12 (x) total-vm:1kB\n");
  CHECK(cgroup && cgroup->pid == 12);

  CHECK(!ParseOomRecord("6,1,2,-;usb 1-1: new device"));
  CHECK(!ParseOomRecord("6,1,2,-;audit: Killed process 12"));
  CHECK(!ParseOomRecord("3,1;Out of memory: Killed process 12 (x)"));
  CHECK(!ParseOomRecord("3,1,2,-;Out of memory: Killed process none"));
  CHECK(!ParseOomRecord(""));
  // Facility 1 (user): written by a process, not by the kernel.
  CHECK(!ParseOomRecord("11,1,2,-;Out of memory: Killed process 12 (x)"));

  CHECK(ParseVmstat("nr_free 1\noom_kill_total 9\noom_kill 3\n", "oom_kill") == 3u);
  CHECK(!ParseVmstat("nr_free 1\n", "oom_kill"));

  OomWatch watch;
  CHECK(watch.Ask(0x7ffffff0, 0) != OomWatch::Verdict::kYes);
}
