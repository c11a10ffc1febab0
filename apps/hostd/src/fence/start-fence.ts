import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { Logger } from 'pino';

/** It holds a few numbers: what Node.js would take for itself is not needed. */
const SMALL = ['--max-old-space-size=16', '--max-semi-space-size=1', '--v8-pool-size=0'];
/** Before one that ended is started again. */
const AGAIN_MS = 1_000;

/**
 * Starts the fence beside this agent, and again when it ends. It is a process of its own, because an agent that is stopped or gone ends
 * nothing, while the controllers count on it that nothing outlives the lease that may run elsewhere.
 */
export function startFence(root: string, log: Logger): void {
  const child = spawn(process.execPath, [...SMALL, join(__dirname, 'main.js'), root], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  child.unref();
  (child.stdin as Socket | null)?.unref();
  const again = (reason: string): void => {
    log.error({ reason }, 'the fence has ended; it is started again');
    setTimeout(() => startFence(root, log), AGAIN_MS).unref();
  };
  child.once('error', (error) => again(error.message));
  child.once('exit', (code, signal) => again(`ended with ${signal ?? code}`));
}
