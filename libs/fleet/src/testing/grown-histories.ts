import { decideEvents, foldMicrovmRecord, microvmContext, microvmState, type MicrovmLife } from '#lifecycle';
import { MicrovmSpec, sortableId, type MicrovmEvent, type MicrovmRecord } from '#protocol';

/** A number in [0, 1), the same sequence for the same seed. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

export interface GrownOptions {
  seed: number;
  microvms: number;
  records: number;
  /** When it begins, ms since 1970; a record happens every `stepMs`. */
  startMs: number;
  stepMs: number;
  /** By how much the clocks of those who decide differ at most, ms. */
  skewMs?: number;
  hosts?: readonly string[];
  tenants?: readonly string[];
}

/** Lives of microVMs, interleaved as on a stream, every record one that the real machine has accepted. */
export function grownHistories(options: GrownOptions): MicrovmRecord[] {
  const { seed, microvms, records: wanted, startMs, stepMs, skewMs = 0 } = options;
  const { hosts = ['host-a', 'host-b', 'host-c'], tenants = ['default'] } = options;
  const random = seeded(seed);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
  const lives: (MicrovmLife | null)[] = Array.from({ length: microvms }, () => null);
  const records: MicrovmRecord[] = [];
  for (let step = 0, born = 0; records.length < wanted && step < wanted * 20; step++) {
    const slot = Math.floor(random() * microvms);
    const before = lives[slot] ?? null;
    const life = before && microvmState(before) === 'deleted' ? null : before;
    const now = startMs + records.length * stepMs;
    const id =
      life?.id ??
      sortableId(
        now,
        Uint8Array.from({ length: 10 }, (_, i) => (born++ >> (i % 4)) + i + seed),
      );
    const at = now + (random() - 0.5) * skewMs;
    const events = life ? [nextEvent(life, pick, hosts, at)] : birth(pick(tenants), at);
    const occasion = {
      microvmId: id,
      commandId: `c${step}`,
      cause: { kind: 'controller' as const, by: 'test' },
      at,
    };
    const decision = decideEvents(life, events, occasion);
    if (decision.kind !== 'record') continue;
    records.push(decision.record);
    lives[slot] = foldMicrovmRecord(life, decision.record, records.length);
  }
  return records;
}

function birth(tenant: string, at: number): MicrovmEvent[] {
  const spec = {
    ...MicrovmSpec.parse({ image: 'canary', tenant, onHostLoss: 'reschedule', restartPolicy: 'on-failure' }),
  };
  return [{ type: 'requested', spec, requestedAt: at, specHash: 'x' }, { type: 'placementStarted' }];
}

/** Something that may happen to it; often refused, then another is tried. */
function nextEvent(
  life: MicrovmLife,
  pick: <T>(from: readonly T[]) => T,
  hosts: readonly string[],
  at: number,
): MicrovmEvent {
  const { hostId, epoch } = microvmContext(life);
  const here = { hostId: hostId ?? hosts[0]!, epoch };
  const timings = {
    receivedAt: at,
    admittedAt: at,
    launchedAt: at,
    vmmEnteredAt: at,
    guestRunAt: at,
    guestBootedAt: at,
  };
  const timer = pick([...[...life.timers].map(({ name }) => name), 'none']);
  return pick<MicrovmEvent>([
    { type: 'placed', hostId: pick(hosts), epoch: epoch + 1, receiptId: 'r', decidedAt: at },
    { type: 'placed', hostId: pick(hosts), epoch: epoch + 1, receiptId: 'r', decidedAt: at },
    { type: 'placementFailed', reason: 'no room', final: false },
    { type: 'started', ...here, pid: 1, timings },
    { type: 'started', ...here, pid: 1, timings },
    { type: 'refused', ...here, reason: 'full' },
    { type: 'exited', ...here, exit: { reason: pick(['powerOff', 'panic', 'killed'] as const), message: 'ended', at } },
    { type: 'absent', ...here, reason: 'not there' },
    { type: 'pauseRequested' },
    { type: 'pausedOnHost', ...here },
    { type: 'resumeRequested' },
    { type: 'resumedOnHost', ...here },
    { type: 'hostLost', hostId: here.hostId },
    { type: 'startRequested', requestedAt: at },
    { type: 'deadlinePassed', timer },
    { type: 'deleteRequested' },
    { type: 'erased', ...here },
  ]);
}
