import type { PeerCertificate } from 'node:tls';
import { identityOf } from './server-identity';

const certificate = (subjectaltname: string) =>
  ({ subject: { CN: 'x' }, subjectaltname }) as unknown as PeerCertificate;
const believes = (urls: string[], name: string, names: string) =>
  identityOf(urls)(name, certificate(names)) === undefined;

describe('the certificate of a server', () => {
  it.each([
    [['nats://nats-1:4222', 'nats-2:4222'], 'nats-2', 'DNS:nats-2', true],
    [['nats://nats-1:4222'], 'nats-1', 'DNS:nats-2', false],
    [['nats://localhost:4222'], 'localhost', 'DNS:localhost', true],
    // Known by an address: `localhost` is what the client says then.
    [['nats://10.0.0.1:4222'], 'localhost', 'IP Address:10.0.0.1', true],
    [['nats://10.0.0.1:4222', 'nats://10.0.0.2:4222'], 'localhost', 'IP Address:10.0.0.2', true],
    [['nats://10.0.0.1:4222'], 'localhost', 'DNS:localhost', false],
    [['nats://10.0.0.1:4222'], 'localhost', 'IP Address:10.0.0.9', false],
    [['nats://[fd00::1]:4222'], 'localhost', 'IP Address:fd00::1', true],
  ] as const)('of %j, called %s, with %s: %s', (urls, name, names, expected) => {
    expect(believes([...urls], name, names)).toBe(expected);
  });
});
