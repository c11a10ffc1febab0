import { THIS_MACHINE } from '#emulated-host';

export interface AgentEnvironmentOptions {
  hostId: string;
  natsPorts: readonly number[];
  /** The servers show certificates of the authority that lies in `/etc/volley` as {@link NATS_CA}. */
  natsTls: boolean;
  memoryMiB: number;
  /** Ratios that admission on the emulated host enforces. */
  overcommit: { cpu: number; memory: number };
}

/** The names under which the emulated host keeps its key for NATS, and the authority of the servers, in `/etc/volley`. */
export const NATS_NKEY = 'nats.nk';
export const NATS_CA = 'nats-ca.pem';

/** Settings of the agent that begin with this in the environment of `up` are meant for the emulated host alone. */
const OWN = 'VOLLEY_EMULATED_';

/** Each prepared slot holds a process, and starting one takes seconds there. */
const MEMORY_PER_SLOT_MIB = 128;
/** A stock kernel takes 10 s there where there are CPUs for it; a minute and more where there are not. */
const BOOT_DEADLINE_MS = 300_000;

/** What the agent on an emulated host is told: as any agent, with deadlines for a machine that is 10 to 20 times slower. */
export function agentEnvironment(
  { hostId, natsPorts, natsTls, memoryMiB, overcommit }: AgentEnvironmentOptions,
  given: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const environment: Record<string, string> = {
    NODE_ENV: 'production',
    VOLLEY_HOST_ID: hostId,
    VOLLEY_HOST_DIR: '/var/lib/volley/host',
    VOLLEY_NATS_URL: natsPorts.map((port) => `nats://${THIS_MACHINE}:${port}`).join(','),
    VOLLEY_NATS_NKEY_FILE: `/etc/volley/${NATS_NKEY}`,
    ...(natsTls ? { VOLLEY_NATS_CA_FILE: `/etc/volley/${NATS_CA}` } : {}),
    VOLLEY_LABELS: 'emulated=true',
    VOLLEY_SLOTS: String(Math.max(4, Math.floor(memoryMiB / MEMORY_PER_SLOT_MIB))),
    VOLLEY_OVERCOMMIT_CPU: String(overcommit.cpu),
    VOLLEY_OVERCOMMIT_MEMORY: String(overcommit.memory),
    VOLLEY_BOOT_DEADLINE_MS: String(BOOT_DEADLINE_MS),
  };
  for (const [name, value] of Object.entries(given)) {
    if (name.startsWith(OWN) && value !== undefined) environment[`VOLLEY_${name.slice(OWN.length)}`] = value;
  }
  return environment;
}
