#include "proc.h"

#include <unistd.h>

#include "check.h"

using namespace volley;

int main() {
  const std::string tail = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 987654 20 21\n";
  const auto plain = ParseProcessStat("42 (volley-vmm)" + tail);
  CHECK(plain && plain->state == 'S' && plain->start_ticks == "987654");

  // A process chooses its own name, and may try to look like more fields.
  const auto tricky = ParseProcessStat("42 (a) Z 1 (b\n) x)" + tail);
  CHECK(tricky && tricky->state == 'S' && tricky->start_ticks == "987654");

  CHECK(!ParseProcessStat(""));
  CHECK(!ParseProcessStat("42 (x)"));
  CHECK(!ParseProcessStat("42 (x) S 1 2 3"));
  CHECK(!ParseProcessStat("42 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 -5 20"));

  auto self = ReadProcessStat(getpid());
  CHECK(self && self->start_ticks.size() > 1);
  CHECK(!ReadProcessStat(0x7ffffff0));
  CHECK(!IsVmmOf(getpid(), "some-id"));
  auto boot = ReadBootId();
  CHECK(boot && boot->size() == 36);
}
