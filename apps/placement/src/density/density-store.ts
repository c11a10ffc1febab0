import { mergePoints } from '#density';
import type { DensityJournals } from '#fleet';
import { JournalUnavailableError } from '#journal';
import {
  DENSITY_MINUTES_STREAM,
  DENSITY_RECENT_STREAM,
  densityPointsOf,
  OperationError,
  type DensityHistory,
  type DensityPoint,
  type DensityResolution,
  type DensityScope,
} from '#protocol';

const STREAMS = { recent: DENSITY_RECENT_STREAM, minutes: DENSITY_MINUTES_STREAM };
const MOST_POINTS = 2_000;
/** Steps that are offered when nobody says which, ms, and how many points one of them should give at most. */
const USUAL_STEPS = [10_000, 60_000, 300_000, 900_000, 3_600_000, 21_600_000];
const USUAL_POINTS = 400;
/** "The last hour" was an hour ago when it was asked for, ms. */
const SLACK_MS = 30_000;
/** A point that cannot be stored by then is given up, ms: the next one comes soon. */
const APPEND_MS = 5_000;

export interface HistoryQuery {
  scope: DensityScope;
  from: number;
  to: number;
  stepMs?: number | undefined;
}

/** Points of density on JetStream. The oldest go when they are old or too many. */
export class DensityStore {
  constructor(private readonly journals: DensityJournals) {}

  /** Of several replicas that store the same step, the first one is kept. @throws JournalUnavailableError */
  async append(resolution: DensityResolution, scope: DensityScope, point: DensityPoint): Promise<void> {
    const options = { commandId: String(point.at), expectedSequence: 'any', deadlineMs: APPEND_MS } as const;
    await this.journals[resolution].append(densityPointsOf(resolution, scope), point, options);
  }

  /** @throws OperationError `invalid`, `unavailable` */
  async read({ scope, from, to, stepMs: asked }: HistoryQuery, nowMs: number): Promise<DensityHistory> {
    if (from >= to) throw new OperationError('invalid', '`from` must be before `to`');
    const isRecent = from >= nowMs - STREAMS.recent.maxAgeMs - SLACK_MS;
    const least = STREAMS[isRecent ? 'recent' : 'minutes'].stepMs;
    const usual = USUAL_STEPS.find((step) => step >= least && (to - from) / step <= USUAL_POINTS);
    const stepMs = asked === undefined ? (usual ?? USUAL_STEPS.at(-1)!) : Math.max(asked, least);
    if ((to - from) / stepMs > MOST_POINTS) {
      const seconds = Math.ceil((to - from) / MOST_POINTS / 10_000) * 10;
      throw new OperationError('invalid', `more than ${MOST_POINTS} points: \`step\` must be at least ${seconds}s`);
    }
    const resolution = isRecent && stepMs < STREAMS.minutes.stepMs ? 'recent' : 'minutes';
    try {
      const { entries } = await this.journals[resolution].read(densityPointsOf(resolution, scope));
      const points = entries.map(({ record }) => record).filter(({ at }) => at >= from && at < to);
      return { from, to, stepMs, points: mergePoints(points, stepMs).slice(0, MOST_POINTS) };
    } catch (error) {
      if (!(error instanceof JournalUnavailableError)) throw error;
      throw new OperationError('unavailable', `the history of density cannot be read: ${error.message}; try again`);
    }
  }
}
