import { connect } from 'nats';
import { pino } from 'pino';
import { ReplicaLeases } from '../replica-leases';

/** A replica as a process, for tests that freeze and kill it: prints its members at every change. */
async function main(): Promise<void> {
  const [url, bucket, id, leaseMs] = process.argv.slice(2) as [string, string, string, string];
  const nc = await connect({ servers: url });
  const leases = await ReplicaLeases.open(nc, {
    bucket,
    id,
    machine: 1,
    leaseMs: Number(leaseMs),
    logger: pino({ level: 'silent' }),
  });
  leases.onChange(() => {
    const members = leases.members.map((one) => one.id).join(',') || 'nobody';
    process.stdout.write(`${members}${leases.isThawing ? ' thawing' : ''}\n`);
  });
  await leases.join();
  process.stdout.write('joined\n');
}

void main();
