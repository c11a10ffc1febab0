import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closeConnections } from '../rest/http-exchange';
import { RestClient } from '../rest/rest-client';
import { targetOf } from '../rest/target';
import { CertificateAuthority, type Certificate } from './certificates';

describe('our own authority', () => {
  const folder = mkdtempSync(join(tmpdir(), 'volley-tls-'));
  const authority = CertificateAuthority.open(join(folder, 'tls'));
  afterAll(() => rmSync(folder, { recursive: true }));
  afterEach(() => closeConnections());

  /** What the command line says to a server with this certificate. */
  async function ask({ certFile, keyFile }: Certificate, options: { host?: string; caFile?: string } = {}) {
    const server = createServer({ cert: readFileSync(certFile), key: readFileSync(keyFile) }, (_, response) => {
      response.setHeader('content-type', 'application/json').end('{"items":[]}');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `https://${options.host ?? '127.0.0.1'}:${(server.address() as AddressInfo).port}`;
    try {
      return await new RestClient(targetOf({ url, data: folder, caFile: options.caFile }, {})).get('/v1/hosts');
    } finally {
      closeConnections();
      server.close();
    }
  }

  it('makes certificates that are believed for the names they are for, by those who know the authority', async () => {
    const certificate = authority.issue('gateway', ['127.0.0.1', 'some.host']);
    expect(await ask(certificate, { caFile: authority.caFile })).toEqual({ items: [] });
    await expect(ask(certificate)).rejects.toThrow(/certificate/);
    await expect(ask(certificate, { host: 'localhost', caFile: authority.caFile })).rejects.toThrow(/altnames/);
    for (const file of [certificate.keyFile, join(folder, 'tls/ca.key')])
      expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it('stays the same when it is opened again, and is not another one', async () => {
    const again = CertificateAuthority.open(join(folder, 'tls')).issue('again', ['127.0.0.1']);
    expect(await ask(again, { caFile: authority.caFile })).toEqual({ items: [] });
    const other = CertificateAuthority.open(join(folder, 'other'));
    await expect(ask(again, { caFile: other.caFile })).rejects.toThrow(/certificate/);
  });

  it.each([
    ['../evil', ['h']],
    ['', ['h']],
    ['ok', ['a,b']],
    ['ok', ['a\nb']],
  ])('makes none for %j and %j', (name, hosts) => {
    expect(() => authority.issue(name, hosts)).toThrow(/cannot name a server|neither a name nor an address/);
  });
});
