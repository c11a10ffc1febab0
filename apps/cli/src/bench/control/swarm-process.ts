import { pino } from 'pino';
import { BusClient, connectNats } from '#bus';
import { HostSwarm } from './host-swarm';

/** A swarm of hosts as a process: `swarm-process.js NATS-URL COUNT VCPUS-PER-CPU`. Says `ready` when all are taken in; ends by SIGTERM. */
async function main(): Promise<void> {
  const [url, count, vcpusPerCpu] = process.argv.slice(2) as [string, string, string];
  const nats = await connectNats({ servers: url, name: 'host-swarm' });
  const ids = Array.from({ length: Number(count) }, (_, i) => `swarm-${String(i + 1).padStart(4, '0')}`);
  const overcommit = { cpu: Number(vcpusPerCpu), memory: 1 };
  const capacity = { cpus: 16, memoryMiB: 65_536, reserveMiB: 0, slots: 400, overcommit };
  const swarm = new HostSwarm(new BusClient(nats, pino({ level: 'silent' })), ids, capacity);
  await swarm.start();
  process.stdout.write('the swarm is ready\n');
}

void main();
