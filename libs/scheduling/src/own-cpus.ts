/**
 * Gives each of some vCPUs a CPU of its own, as long as there are enough; undefined: there are more vCPUs than CPUs. Who has one keeps it.
 * Those with high numbers go first: the first CPUs have most of the interrupts and of the timers.
 *
 * @param cpus those that there are to give, in ascending order
 * @param before what they have now
 */
export function ownCpus<Vcpu>(
  vcpus: readonly Vcpu[],
  cpus: readonly number[],
  before: ReadonlyMap<Vcpu, number>,
): Map<Vcpu, number> | undefined {
  if (vcpus.length > cpus.length) return undefined;
  const given = new Map<Vcpu, number>();
  const free = new Set(cpus);
  for (const vcpu of vcpus) {
    const cpu = before.get(vcpu);
    if (cpu !== undefined && free.delete(cpu)) given.set(vcpu, cpu);
  }
  const highestFirst = [...free].sort((a, b) => b - a);
  for (const vcpu of vcpus) if (!given.has(vcpu)) given.set(vcpu, highestFirst.shift()!);
  return given;
}
