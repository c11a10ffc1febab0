import { fork } from 'node:child_process';
import { extname, join } from 'node:path';
import { Inject, Injectable } from '@nestjs/common';
import { SHUTDOWN } from '#bus';
import { Pacer } from '#concurrency';
import { OperationError, whatIf, type WhatIfQuestion, type WhatIfReport } from '#protocol';
import type { WhatIfOrder, WhatIfResult } from './what-if.process';

/** Questions at a time, and how many more may wait. */
const AT_ONCE = 1;
const MOST_WAITING = 2;
/** What its process may hold, MiB. */
const HEAP_MIB = 2_048;
/** The asker still has to get the answer when the process was ended for taking too long, ms. */
const SLACK_MS = 3_000;

/** Answers what-ifs, each in a process of its own: they read long histories and compute for a long time, and placing goes on meanwhile. */
@Injectable()
export class WhatIf {
  readonly #pacer = new Pacer(AT_ONCE);

  constructor(@Inject(SHUTDOWN) private readonly shutdown: AbortSignal) {}

  /** @throws OperationError `overloaded` when others wait already; `timeout` when it takes too long; what the process answers. */
  async execute(question: WhatIfQuestion, askedForMs = whatIf.deadlineMs): Promise<WhatIfReport> {
    const deadline = performance.now() + askedForMs - SLACK_MS;
    if (question.from >= question.to) throw backwards();
    if (this.#pacer.waiting >= MOST_WAITING) {
      throw new OperationError('overloaded', 'other what-ifs are being answered; try again', undefined, 5_000);
    }
    return this.#pacer.run(() => this.#ask(question, Math.floor(deadline - performance.now())));
  }

  async #ask(question: WhatIfQuestion, deadlineMs: number): Promise<WhatIfReport> {
    if (this.shutdown.aborted) throw goesAway();
    if (deadlineMs <= 0) throw tooSlow();
    const child = fork(join(__dirname, `what-if.process${extname(__filename)}`), process.argv.slice(2), {
      execArgv: [...process.execArgv, `--max-old-space-size=${HEAP_MIB}`],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    const end = AbortSignal.any([this.shutdown, AbortSignal.timeout(deadlineMs)]);
    try {
      const result = await new Promise<WhatIfResult>((resolve, reject) => {
        child.once('message', (message: WhatIfResult) => resolve(message));
        child.once('error', reject);
        child.once('exit', (code, signal) => reject(died(code ?? signal)));
        end.addEventListener('abort', () => reject(this.shutdown.aborted ? goesAway() : tooSlow()), { once: true });
        // Its own end comes later: who takes too long is told so, whatever it was about.
        const order: WhatIfOrder = { question, deadlineMs: deadlineMs + SLACK_MS };
        child.send(order, (error) => error && reject(error));
      });
      if ('report' in result) return result.report;
      const { code, message, details } = result.error;
      throw new OperationError(code, message, details);
    } finally {
      child.kill('SIGKILL');
    }
  }
}

function backwards(): OperationError {
  const message = 'must be before `to`';
  return new OperationError('invalid', `from: ${message}`, [{ path: 'from', message }]);
}

function tooSlow(): OperationError {
  return new OperationError(
    'timeout',
    'it took too long: ask about a shorter time, fewer alternatives or with fewer runs',
  );
}

function goesAway(): OperationError {
  return new OperationError('unavailable', 'the placement service is shutting down; ask again');
}

function died(how: number | string | null): OperationError {
  return new OperationError('internal', `the process that computes what-ifs ended (${how}): ask about a shorter time`);
}
