import { z } from 'zod';
import { ConfigError, readConfig } from './config';

const schema = z.object({
  natsUrl: z.string(),
  httpPort: z.coerce.number().int().min(0).max(65535).default(7400),
  verbose: z.stringbool().default(false),
});

describe('readConfig', () => {
  it('takes flags before the environment, and the environment before defaults', () => {
    const env = { VOLLEY_NATS_URL: 'nats://env', VOLLEY_HTTP_PORT: '1', VOLLEY_OTHER: 'not mine' };
    expect(readConfig(schema, ['--http-port', '2', '--verbose'], env)).toEqual({
      natsUrl: 'nats://env',
      httpPort: 2,
      verbose: true,
    });
    expect(readConfig(schema, ['--nats-url=a=b'], {})).toEqual({ natsUrl: 'a=b', httpPort: 7400, verbose: false });
  });

  it('names everything that is wrong, at once', () => {
    const read = () => readConfig(schema, ['--http-port', '70000', '--colour', 'red'], {});
    expect(read).toThrow(ConfigError);
    expect(read).toThrow(/--colour: unknown; known are --nats-url, --http-port, --verbose/);
    expect(read).toThrow(/--nats-url or VOLLEY_NATS_URL: .*\(not given\)/);
    expect(read).toThrow(/--http-port or VOLLEY_HTTP_PORT: /);
  });
});
