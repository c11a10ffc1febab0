import { z } from 'zod';
import { natsSettings } from '#bus';

const Listen = z
  .string()
  .regex(/^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$/, 'must be HOST:PORT, such as 127.0.0.1:7400 or [::1]:7400')
  .transform((text) => {
    const colon = text.lastIndexOf(':');
    return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
  })
  .refine(({ port }) => port <= 65_535, 'the port must be at most 65535');

/** The gateway's settings, each from its flag or its `VOLLEY_` variable. */
export const GatewayConfig = z.object({
  ...natsSettings,
  /** Where REST and the console page are served. Port 0: any free one. */
  listen: Listen.prefault('127.0.0.1:7400'),
  /** File with the operator token; readable by its owner alone. */
  tokenFile: z.string({ error: 'is needed: the file that holds the operator token' }).min(1),
  /** Certificate (PEM, with those of intermediate authorities) and key of REST; absent: REST is not encrypted. */
  tlsCertFile: z.string().min(1).optional(),
  tlsKeyFile: z.string().min(1).optional(),
  /** The built console page. */
  consoleDir: z.string().min(1).default('dist/console'),
  /** Largest file that may be uploaded, in MiB. */
  maxUploadMib: z.coerce.number().int().positive().default(16_384),
  /** True: /metrics needs no token. */
  metricsOpen: z.stringbool().default(false),
  logLevel: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace']).default('info'),
});
export type GatewayConfig = z.output<typeof GatewayConfig>;
