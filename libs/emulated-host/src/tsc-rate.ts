/**
 * A line of shell for when KVM is loaded. KVM remembers the rate of the processor's TSC from when it was loaded, where the processor does not
 * promise a constant one, and this one does not. The kernel measures the rate again a second later; on a busy machine the first measurement is
 * wrong by more than the 250 ppm that KVM takes for equal, so it refuses its own rate for each new vCPU ("user requested TSC rate below
 * hardware speed"), goes on without one, and every timer of every guest fires as much too late as the host is old.
 */
export const ANY_TSC_RATE =
  '[ ! -e /sys/module/kvm/parameters/tsc_tolerance_ppm ] || echo 500000 >/sys/module/kvm/parameters/tsc_tolerance_ppm';
