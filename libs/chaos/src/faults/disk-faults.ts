import { appendFileSync, readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import type { ChaosFleet } from '../fleet/chaos-fleet';
import { sleep, until } from '../fleet/wait';
import { scanVmms, stillRuns } from '../invariants/scan-vmms';
import type { FaultKind } from './fault';

/** No byte is left on the disk of the second host's journal, for a while. */
export const diskFull: FaultKind = (random) => {
  const ms = random.int(500, 4_000);
  return {
    name: `fill the disk of the second host for ${ms} ms`,
    strike: async ({ disk }) => {
      if (!disk) return 'only root may mount';
      disk.fill();
      await sleep(ms);
      disk.free();
    },
  };
};

/** The agent dies in the middle of a write: the last record of its journal is not whole, or is rubbish. */
export const tornTail: FaultKind = (random) => {
  const kind = random.pick(['half a record', 'half a head', 'rubbish', 'zeros'] as const);
  const rubbish = Buffer.from(Array.from({ length: random.int(1, 200) }, () => random.int(0, 256)));
  return {
    name: `kill the second host's agent and leave ${kind} at the end of its journal`,
    strike: async (fleet) => {
      await whileDown(fleet, (journal) => {
        const lines = readFileSync(journal);
        const lastLine = lines.subarray(lines.lastIndexOf(0x0a, lines.length - 2) + 1);
        const tails = {
          'half a record': lastLine.subarray(0, Math.floor(lastLine.length / 2)),
          'half a head': lastLine.subarray(0, 5),
          rubbish,
          zeros: Buffer.alloc(512),
        };
        appendFileSync(journal, tails[kind]);
      });
    },
  };
};

/** The machine loses power: agent and VMMs are gone, and so is the last of what was written and not yet synced. */
export const powerLoss: FaultKind = () => ({
  name: 'cut the power of the second host',
  strike: async (fleet) => {
    await whileDown(fleet, async (journal) => {
      const vmms = scanVmms(fleet.second.place.runDir);
      for (const vmm of vmms) if (stillRuns(vmm)) process.kill(vmm.pid, 'SIGKILL');
      await until('no VMM of the second host runs', () => !vmms.some(stillRuns), 5_000);
      const bytes = readFileSync(journal);
      const lastLine = bytes.lastIndexOf(0x0a, bytes.length - 2) + 1;
      if (lastLine > 0) truncateSync(journal, Math.floor((lastLine + bytes.length) / 2));
    });
  },
});

/** Works on the second host's journal while nobody has it open. */
async function whileDown(fleet: ChaosFleet, work: (journal: string) => void | Promise<void>): Promise<void> {
  await fleet.second.hold();
  try {
    await work(join(fleet.second.place.hostDir, 'journal'));
  } finally {
    fleet.second.start();
  }
}
