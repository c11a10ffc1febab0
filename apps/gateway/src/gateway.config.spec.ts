import { ConfigError, readConfig } from '#bus';
import { GatewayConfig } from './gateway.config';

const read = (env: Record<string, string>) => readConfig(GatewayConfig, [], env);

describe('GatewayConfig', () => {
  it('fills in what is not said', () => {
    expect(read({ VOLLEY_TOKEN_FILE: '/t' })).toEqual({
      natsUrl: 'nats://127.0.0.1:4222',
      natsReplicas: 1,
      listen: { host: '127.0.0.1', port: 7400 },
      tokenFile: '/t',
      consoleDir: 'dist/console',
      maxUploadMib: 16_384,
      metricsOpen: false,
      logLevel: 'info',
    });
  });

  it('reads an IPv6 address', () => {
    expect(read({ VOLLEY_TOKEN_FILE: '/t', VOLLEY_LISTEN: '[::1]:80' }).listen).toEqual({ host: '::1', port: 80 });
  });

  it.each([
    [{}, /VOLLEY_TOKEN_FILE: is needed/],
    [{ VOLLEY_TOKEN_FILE: '/t', VOLLEY_LISTEN: '7400' }, /VOLLEY_LISTEN: must be HOST:PORT/],
    [{ VOLLEY_TOKEN_FILE: '/t', VOLLEY_LISTEN: 'a:70000' }, /VOLLEY_LISTEN: the port must be at most 65535/],
    [{ VOLLEY_TOKEN_FILE: '/t', VOLLEY_METRICS_OPEN: 'maybe' }, /VOLLEY_METRICS_OPEN/],
  ])('refuses %j and says what is wrong', (environment, message) => {
    expect(() => read(environment)).toThrow(ConfigError);
    expect(() => read(environment)).toThrow(message);
  });
});
