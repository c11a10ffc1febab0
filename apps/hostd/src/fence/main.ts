import { leaseEnd, leaseFileIn } from '../controller-link/lease';
import { mayMove } from '../microvms/run-folders';
import { bootId, vmmsUnder } from '../recovery/vmm-search';
import { Fence } from './fence';

/** The fence's own process: `main.js ROOT`, the run folders of its agent, whose end it sees by that of its standard input. */
function main(root: string): void {
  process.title = 'volley-fence';
  const boot = bootId();
  let agentLives = true;
  const fence = new Fence({
    leaseEnd: () => leaseEnd(leaseFileIn(root), boot),
    nowMs: () => Number(process.hrtime.bigint()) / 1e6,
    agentLives: () => agentLives,
    endMovable: () => {
      for (const { pid, directory } of vmmsUnder(root)) if (mayMove(directory)) end(pid);
    },
  });
  process.stdin.on('end', () => (agentLives = false)).resume();
  process.stdin.on('error', () => (agentLives = false));
  const work = (): void => {
    const waitMs = fence.step();
    if (waitMs === undefined) process.exit(0);
    setTimeout(work, Math.ceil(waitMs));
  };
  work();
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

main(process.argv[2]!);
