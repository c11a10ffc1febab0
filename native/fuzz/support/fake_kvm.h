#pragma once

namespace volley::fuzz {

// A KVM that says yes and runs nothing: with it a whole machine is built in microseconds, on any host. A vCPU's run
// page is a page like any other, for a fuzzer to write what KVM might.
int open_fake_kvm();  // a descriptor that is /dev/kvm for the code under test; closed by the caller

int kvm_control(int fd, unsigned long request, unsigned long argument);

}  // namespace volley::fuzz
