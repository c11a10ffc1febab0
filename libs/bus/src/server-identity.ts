import { isIP } from 'node:net';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';

/**
 * Whether a certificate is one of the servers that we were told of. The client of NATS gives no name when a server is known by its
 * address, and Node then takes it for `localhost`: a certificate for that would be believed, and the right one would not.
 */
export function identityOf(urls: readonly string[]) {
  const hosts = urls.map((url) =>
    new URL(url.includes('://') ? url : `nats://${url}`).hostname.replace(/^\[|\]$/g, ''),
  );
  const addresses = hosts.filter((host) => isIP(host) !== 0);
  return (name: string, certificate: PeerCertificate): Error | undefined => {
    const wanted = addresses.length === 0 || hosts.includes(name) ? [name] : addresses;
    const errors = wanted.map((one) => checkServerIdentity(one, certificate));
    return errors.includes(undefined) ? undefined : errors[0];
  };
}
