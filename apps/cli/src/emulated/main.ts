import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { AgentHost } from '#emulated-host';
import { KeyRing } from '../keys/key-ring';
import { DataFolder } from '../supervisor/data-folder';
import { agentEnvironment, NATS_CA, NATS_NKEY } from './agent-environment';
import { readEmulatedPlan } from './emulated-plan';
import { STOP_HOST_MS } from './stop-deadline';

/** Fetching nothing, only booting: minutes mean that it hangs. */
const BOOT_MS = 300_000;

/**
 * The process that is the emulated host to its supervisor: its output is the host's console, and SIGTERM powers the host
 * off. `main.js --data DIR --host-id ID --nats-ports PORT,PORT [--nats-ca FILE] --shell SOCKET --overcommit-cpu R --overcommit-memory R`.
 */
async function main(): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      ...{ data: text, 'host-id': text, 'nats-ports': text, 'nats-ca': text, shell: text },
      ...{ 'overcommit-cpu': text, 'overcommit-memory': text },
    },
    strict: true,
  });
  const wanted = (name: keyof typeof values): string => {
    const value = values[name];
    if (value === undefined) throw new Error(`--${name} is required`);
    return value;
  };
  const folder = DataFolder.at(wanted('data'));
  const plan = readEmulatedPlan(folder);
  const hostId = wanted('host-id');
  process.title = `volley-emulated-host ${hostId}`;
  const host = await AgentHost.start({
    tools: plan.tools,
    systemImage: plan.systemImage,
    folder: folder.emulated,
    memoryMiB: plan.memoryMiB,
    cpus: plan.cpus,
    diskMiB: plan.diskMiB,
    environment: agentEnvironment(
      {
        hostId,
        natsPorts: wanted('nats-ports').split(',').map(Number),
        natsTls: values['nats-ca'] !== undefined,
        memoryMiB: plan.memoryMiB,
        overcommit: { cpu: Number(wanted('overcommit-cpu')), memory: Number(wanted('overcommit-memory')) },
      },
      process.env,
    ),
    secrets: {
      [NATS_NKEY]: readFileSync(KeyRing.open(folder.keys).seedFile({ hostId }), 'utf8'),
      ...(values['nats-ca'] === undefined ? {} : { [NATS_CA]: readFileSync(values['nats-ca'], 'utf8') }),
    },
    shellSocket: wanted('shell'),
  });
  host.emulation.onConsole((part) => process.stdout.write(part.replaceAll('\r', '')));
  let stopping = false;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      stopping = true;
      void host.stop(STOP_HOST_MS).then(() => process.exit(0), die);
    });
  }
  await host.agentStarted(BOOT_MS);
  while (!(await host.emulation.endsWithin(3_600_000)));
  if (!stopping) die(new Error(host.emulation.ended));
}

function die(error: unknown): never {
  process.stderr.write(`${new Date().toISOString()} fatal: ${(error as Error).message}\n`);
  process.exit(1);
}

process.on('uncaughtException', die);
main().catch(die);
