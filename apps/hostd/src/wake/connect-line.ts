/** Bytes of the longest first line, its end included. */
const LINE_MOST = 32;
/** VMADDR_PORT_ANY: nobody listens there. */
const ANY_PORT = 0xffff_ffff;
const BEGUN = 'CONNECT ';

/**
 * What a program of the host has said first: `CONNECT port` and a newline, as the VMM's vsock device takes it (native/vmm/src/vsock/connect_line.cpp). The
 * port, `incomplete`, or `wrong`.
 */
export function parseConnectLine(said: string): number | 'incomplete' | 'wrong' {
  if (!said.startsWith(BEGUN)) return BEGUN.startsWith(said) ? 'incomplete' : 'wrong';
  const match = /^(\d*)(\n?)$/.exec(said.slice(BEGUN.length));
  if (!match || Number(match[1]) >= ANY_PORT || said.length > LINE_MOST) return 'wrong';
  if (match[2] === '') return said.length === LINE_MOST ? 'wrong' : 'incomplete';
  return match[1] === '' ? 'wrong' : Number(match[1]);
}
