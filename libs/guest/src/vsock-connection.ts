import { connect, type Socket } from 'node:net';
import { GuestConnectionError } from './errors';

/** Where init's agent listens in a guest. */
export const AGENT_PORT = 1024;

const LONGEST_ANSWER = 32;

/**
 * Connects to a vsock port of a guest through the socket of its VMM: `CONNECT port`, answered by `OK port`.
 *
 * @throws GuestConnectionError when the VMM is not there, the guest does not listen, or nothing is said in time.
 */
export function connectToGuest(socketPath: string, port: number = AGENT_PORT, deadlineMs = 5_000): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    let answer = '';
    const fail = (message: string): void => {
      clearTimeout(late);
      socket.destroy();
      reject(new GuestConnectionError(message));
    };
    const late = setTimeout(() => fail(`the guest did not answer within ${deadlineMs} ms`), deadlineMs);
    const onError = (error: Error): void => fail(`the VMM cannot be reached: ${error.message}`);
    const onClose = (): void => fail('the guest does not listen: it is still starting, ending, or has no agent');
    // One byte after another: what follows the line belongs to who asked for the connection.
    const onReadable = (): void => {
      for (let byte: Buffer | null; (byte = socket.read(1) as Buffer | null) !== null;) {
        if (byte[0] !== 0x0a) {
          answer += byte.toString('latin1');
          if (answer.length > LONGEST_ANSWER) return fail('the VMM answered what it must not');
          continue;
        }
        if (!/^OK \d+$/.test(answer)) return fail('the VMM answered what it must not');
        clearTimeout(late);
        socket.off('error', onError).off('close', onClose).off('end', onClose).off('readable', onReadable);
        return resolve(socket);
      }
    };
    socket.on('error', onError).on('close', onClose).on('end', onClose).on('readable', onReadable);
    socket.on('connect', () => socket.write(`CONNECT ${port}\n`));
  });
}
