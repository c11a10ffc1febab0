import 'reflect-metadata';
import type { WhatIfQuestion } from '#protocol';
import { OperationError } from '#protocol';
import { WhatIf } from '../what-if/what-if';

/** What a test asks; `stop` ends the service as SIGTERM would. */
export type WhatIfRequest = { id: number; question: WhatIfQuestion; deadlineMs: number } | 'stop';
export type WhatIfReply = { id: number; error: string; message: string } | { id: number; report: object };

// A placement service that answers what-ifs and nothing else, over the IPC channel.
const shutdown = new AbortController();
const service = new WhatIf(shutdown.signal);

process.on('message', (request: WhatIfRequest) => {
  if (request === 'stop') return shutdown.abort();
  const { id, question, deadlineMs } = request;
  const reply = (answer: WhatIfReply): void => void process.send!(answer);
  service.execute(question, deadlineMs).then(
    (report) => reply({ id, report }),
    (error: Error) =>
      reply({ id, error: error instanceof OperationError ? error.code : error.name, message: error.message }),
  );
});
process.on('disconnect', () => process.exit(0));
