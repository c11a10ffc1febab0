import type { Claim } from '../load/claim';
import { isSampled, traceClaim, type TraceDemand } from './trace-claim';
import { BadRow, newTally, numberIn, readRow, textIn } from './trace-lines';

/** What the machines have to which requests relate: they are published as shares of the largest machine. */
export interface GoogleMachine {
  cpus: number;
  memoryMiB: number;
}

/** Where the fields of a row are. */
interface Columns {
  time: number;
  /** Two that name a task together. */
  job: number;
  task: number;
  event: number;
  tenant: number;
  cpu: number;
  memory: number;
}

/** `task_events` of the cluster data of 2011, which has no header. */
const COLUMNS_2011: Columns = { time: 0, job: 2, task: 3, event: 5, tenant: 6, cpu: 9, memory: 10 };
/** Numbers of events in 2011; 2019 has two before SCHEDULE. Begins, and ends of every kind. */
const EVENTS_2011 = { begin: [1], end: [2, 3, 4, 5, 6] };
const EVENTS_2019 = { begin: [3], end: [4, 5, 6, 7, 8] };
const NAMES_2019: Record<string, number> = { SCHEDULE: 3, EVICT: 4, FAIL: 5, FINISH: 6, KILL: 7, LOST: 8 };
/** Requests are kept in multiples of this, which adds and subtracts without dirt. */
const GRAIN = 1 / 1_024;
/** Longer than any trace: of whom only the end is known was there before. */
const AFTER_END_US = 2 ** 62;

/**
 * Google's cluster data: `task_events` of 2011 (CSV without a header), or `instance_events` of 2019 exported as CSV with its header (`time`, `type`,
 * `collection_id`, `instance_index`, `user` or `collection_id`, `resource_request.cpus`, `resource_request.memory`). Times are microseconds. A task has a
 * place from each SCHEDULE to the event that ends it; a user is a tenant. What was submitted and never scheduled is not in the load.
 */
export class GoogleTrace {
  readonly events = newTally();
  readonly #running = new Map<string, TraceDemand>();
  readonly #claims: Claim[] = [];
  #columns: Columns | undefined;
  #isOf2019 = false;
  #end = 0;

  constructor(
    private readonly machine: GoogleMachine,
    private readonly every = 1,
  ) {}

  take(line: string): void {
    if (!this.#columns && /(^|,)time(,|$)/.test(line)) {
      this.events.lines++;
      this.#columns = columnsOf(line.split(','));
      this.#isOf2019 = true;
      return;
    }
    this.#columns ??= COLUMNS_2011;
    const columns = this.#columns;
    readRow(this.events, line, (fields) => this.#row(fields, columns));
  }

  /** In ms since the trace begins. */
  claims(): { claims: Claim[]; end: number } {
    const running = [...this.#running.values()].map((demand) => traceClaim({ ...demand, ranForMs: null }));
    return { claims: [...this.#claims, ...running], end: this.#end };
  }

  #row(fields: readonly string[], columns: Columns): void {
    const time = numberIn(fields, columns.time, 'time');
    const job = textIn(fields, columns.job, 'job');
    const task = textIn(fields, columns.task, 'task');
    const event = this.#eventIn(fields, columns);
    if (time >= AFTER_END_US) return;
    const at = time / 1_000;
    this.#end = Math.max(this.#end, at);
    const { begin, end } = this.#isOf2019 ? EVENTS_2019 : EVENTS_2011;
    const name = `${job}.${task}`;
    if (!isSampled(name, this.every)) return;
    const running = this.#running.get(name);
    if (running && (end.includes(event) || begin.includes(event))) {
      this.#running.delete(name);
      this.#claims.push(traceClaim({ ...running, ranForMs: Math.max(0, at - running.askedAt) }));
    }
    if (!begin.includes(event)) return;
    const share = (column: number, what: string, whole: number): number =>
      Math.max(GRAIN, Math.round((numberIn(fields, column, what) * whole) / GRAIN) * GRAIN);
    this.#running.set(name, {
      id: `${name}.${this.events.lines}`,
      tenant: textIn(fields, columns.tenant, 'user'),
      vcpus: share(columns.cpu, 'CPU request', this.machine.cpus),
      memoryMiB: share(columns.memory, 'memory request', this.machine.memoryMiB),
      askedAt: at,
      ranForMs: null,
    });
  }

  #eventIn(fields: readonly string[], { event }: Columns): number {
    const text = fields[event]?.trim() ?? '';
    if (this.#isOf2019 && /^[A-Z_]+$/.test(text)) return NAMES_2019[text] ?? 0;
    return numberIn(fields, event, 'event type');
  }
}

function columnsOf(header: readonly string[]): Columns {
  const at = (...names: string[]): number => {
    const index = header.findIndex((field) => names.includes(field.trim()));
    if (index < 0) throw new BadRow(`the header has no ${names.join(' or ')}`);
    return index;
  };
  return {
    time: at('time'),
    job: at('collection_id'),
    task: at('instance_index'),
    event: at('type'),
    tenant: at('user', 'collection_logical_name', 'collection_id'),
    cpu: at('resource_request.cpus', 'resource_request_cpus', 'cpus'),
    memory: at('resource_request.memory', 'resource_request_memory', 'memory'),
  };
}
