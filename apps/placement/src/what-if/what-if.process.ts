import { connectNats, natsOptions, readConfig } from '#bus';
import { OperationError, type ErrorBody, type WhatIfQuestion, type WhatIfReport } from '#protocol';
import { whatIf } from '#whatif';
import { PlacementConfig } from '../placement.config';
import { readLoad } from './read-load';

/** What the placement service tells this process, which is started for one question. */
export interface WhatIfOrder {
  question: WhatIfQuestion;
  /** For reading the histories. */
  deadlineMs: number;
}

/** What it answers, once. */
export type WhatIfResult = { report: WhatIfReport } | { error: ErrorBody };

async function answer({ question, deadlineMs }: WhatIfOrder): Promise<WhatIfResult> {
  try {
    const nats = await connectNats({
      ...natsOptions(readConfig(PlacementConfig), 'placement'),
      name: 'placement-what-if',
      signal: AbortSignal.timeout(deadlineMs),
    });
    const load = await readLoad(nats, question, deadlineMs);
    await nats.close();
    return { report: whatIf(load, question) };
  } catch (error) {
    if (error instanceof OperationError) return { error: error.toBody() };
    return { error: { code: 'internal', message: `what-if: ${String(error)}` } };
  }
}

// An asker that has gone takes its answer with it.
process.once('disconnect', () => process.exit(1));
process.once('message', (order: WhatIfOrder) => {
  void answer(order).then((result) => process.send!(result, () => process.exit(0)));
});
