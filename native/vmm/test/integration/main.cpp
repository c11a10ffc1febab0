#include "support/check.h"
#include "support/vmm_process.h"

int main(int argc, char** argv) {
  if (!volley::test::kvm_available()) return check::kSkip;
  return check::run(argc, argv);
}
