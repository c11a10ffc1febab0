import { jetstreamManager } from '@nats-io/jetstream';
import { sleep } from '../fleet/wait';
import { duration, type FaultKind } from './fault';

/** Cuts the second host off from NATS: both ways, or one of them. */
export const partition: FaultKind = (random) => {
  const ways = random.pick([['toServer', 'toClient'], ['toServer'], ['toClient']] as const);
  const ms = duration(random, 0.4);
  return {
    name: `cut the second host off, ${ways.join(' and ')}, for ${ms} ms`,
    strike: async ({ proxy }) => {
      for (const way of ways) proxy.spoil(way, { cut: true });
      await sleep(ms);
      proxy.heal();
    },
  };
};

/** Doubles messages of the second host and lets them overtake each other. */
export const disorder: FaultKind = (random) => {
  const faults = {
    duplicate: random.pick([0.1, 0.5, 1]),
    hold: random.pick([0.1, 0.3]),
    holdMs: random.pick([30, 300, 2_000]),
  };
  const ms = random.int(1_500, 4_000);
  return {
    name: `double ${faults.duplicate * 100} % and hold back ${faults.hold * 100} % of the second host's messages for up to ${faults.holdMs} ms, for ${ms} ms`,
    strike: async ({ proxy }) => {
      proxy.spoil('toServer', faults);
      proxy.spoil('toClient', faults);
      await sleep(ms);
      proxy.heal();
      // What is held back is still to come.
      await sleep(faults.holdMs);
    },
  };
};

export const delay: FaultKind = (random) => {
  const delayMs = random.pick([50, 400, 1_500]);
  const ms = random.int(1_500, 4_000);
  return {
    name: `delay the second host's messages by ${delayMs} ms, for ${ms} ms`,
    strike: async ({ proxy }) => {
      proxy.spoil('toServer', { delayMs });
      proxy.spoil('toClient', { delayMs });
      await sleep(ms);
      proxy.heal();
      await sleep(delayMs);
    },
  };
};

/** In a cluster, ends or stops the server that leads the histories of microVMs: another one has to be chosen. */
export const leaderLoss: FaultKind = (random) => {
  const [signal, ms] = random.chance(0.5) ? (['SIGKILL', 0] as const) : (['SIGSTOP', duration(random, 0.3)] as const);
  return {
    name: signal === 'SIGKILL' ? 'kill the leader of the histories' : `freeze the leader of the histories for ${ms} ms`,
    strike: async (fleet) => {
      const { cluster } = await (await jetstreamManager(await fleet.nats())).streams.info('MICROVM_HISTORY');
      const number = /-(\d+)$/.exec(cluster?.leader ?? '')?.[1];
      if (number === undefined) return 'there is one nats-server only';
      if (!fleet.signal(`nats-server-${number}`, signal)) return 'it was down';
      if (signal === 'SIGKILL') return;
      await sleep(ms);
      fleet.signal(`nats-server-${number}`, 'SIGCONT');
    },
  };
};
