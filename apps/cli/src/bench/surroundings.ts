import { execFileSync } from 'node:child_process';
import { cpus, hostname, release, totalmem } from 'node:os';
import type { Host } from '#protocol';
import { kvmAccess } from '../doctor/kvm-access';
import { thisHost } from '../doctor/host-view';
import { repositoryRoot } from '../repository-root';
import { volleyVersion } from '../version';

/** What figures mean nothing without: the machine, its kernel and KVM, and what was measured. */
export function surroundings(hosts: readonly Host[], dataFolder: string): Record<string, unknown> {
  const host = thisHost(dataFolder);
  const kvm = kvmAccess(host);
  const root = repositoryRoot();
  return {
    client: {
      hostname: hostname(),
      cpu: cpus()[0]?.model ?? 'unknown',
      cpus: cpus().length,
      memoryMiB: Math.round(totalmem() / 1_048_576),
      kernel: release(),
      kvm: kvm.usable ? { kind: kvm.kind, module: kvm.module } : null,
    },
    hosts: hosts.map(({ id, description }) => ({
      id,
      kernel: description.kernel,
      cpus: description.cpus,
      memoryMiB: description.memoryMiB,
      kvm: description.kvm,
      overcommit: description.overcommit,
      agentVersion: description.agentVersion,
    })),
    versions: {
      volley: volleyVersion(),
      commit: commitOf(root),
      node: process.versions.node,
      natsServer: host.natsServerVersion ?? null,
    },
  };
}

function commitOf(root: string): string | null {
  try {
    return execFileSync('git', ['-C', root, 'describe', '--always', '--dirty'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 5_000,
    }).trim();
  } catch {
    return null;
  }
}
