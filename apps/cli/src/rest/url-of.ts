/** The URL at which a gateway of `volley up` that listens there can be reached from the same machine; with a certificate it serves TLS. */
export function urlOf({ host, port }: { host: string; port: number }, env = process.env): string {
  const scheme = env['VOLLEY_TLS_CERT_FILE'] ? 'https' : 'http';
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `${scheme}://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}
