import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { connectToGuest, GUEST_SEED_BYTES, GuestAgent, GuestConnectionError, type GuestIdentity } from '#guest';
import type { MicrovmProcess } from '#microvm';
import { bootsLinux, wantedDevices, type MicrovmSpec } from '#protocol';
import { VSOCK_SOCKET } from './guest-sockets';

/** Between two attempts to reach a guest that has just gone on: it may not have heard yet that its connections are gone. */
const AGAIN_MS = 10;

/** The host side of a microVM's vsock device; undefined: it has none. */
export function vsockPathOf(process: Pick<MicrovmProcess, 'identity'>, spec: MicrovmSpec): string | undefined {
  return wantedDevices(spec).vsock ? join(process.identity.directory, VSOCK_SOCKET) : undefined;
}

/**
 * The agent in a guest whose init has to be told of snapshots; undefined: it has no init.
 *
 * @throws Error with a sentence for the history, when there is one and it cannot be reached.
 */
export function agentOf(process: Pick<MicrovmProcess, 'identity'>, spec: MicrovmSpec): GuestAgent | undefined {
  if (!bootsLinux(spec)) return undefined;
  const path = vsockPathOf(process, spec);
  if (path === undefined) {
    throw new Error('it has no vsock device, over which a restored guest would be told who it is');
  }
  return new GuestAgent(() => connectToGuest(path));
}

/**
 * Tells a guest that went on from a snapshot who it is now, which makes it ready. Tries again while it cannot be reached.
 *
 * @throws GuestRefusedError when it could not become that; GuestConnectionError when `deadlineMs` is over.
 */
export async function tellRestored(
  agent: GuestAgent,
  identity: GuestIdentity,
  nowMs: () => number,
  deadlineMs: number,
): Promise<void> {
  const until = performance.now() + deadlineMs;
  for (;;) {
    const leftMs = until - performance.now();
    const timeNs = BigInt(Math.round(nowMs() * 1e6));
    try {
      return await agent.restored({ identity, timeNs, seed: randomBytes(GUEST_SEED_BYTES) }, leftMs);
    } catch (error) {
      if (!(error instanceof GuestConnectionError) || leftMs <= AGAIN_MS) throw error;
    }
    await wait(AGAIN_MS);
  }
}
