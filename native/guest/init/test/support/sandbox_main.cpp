#include "support/sandbox.h"
#include "vmm/test/support/check.h"

int main(int argc, char** argv) {
  if (!volley::test::enter_sandbox()) return check::kSkip;
  return check::run(argc, argv);
}
