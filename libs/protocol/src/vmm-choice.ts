import { z } from 'zod';

/**
 * What a host agent starts for a microVM. `kvm`: the VMM, in which a guest runs. `stand-in`: a program that is started, jailed, commanded
 * and ended like it, and runs no guest; for tests of all that is around VMMs where there is no KVM.
 */
export const VmmChoice = z.enum(['kvm', 'stand-in']);
export type VmmChoice = z.infer<typeof VmmChoice>;
