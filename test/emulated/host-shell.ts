import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';

const END = '--end of answer--';

/**
 * Runs shell commands as root in the emulated host of a fleet and gives what they print.
 *
 * Rejects when there is no such host, or no answer in time.
 */
export async function hostShell(dataFolder: string, script: string, deadlineMs = 60_000): Promise<string> {
  const { runDir } = JSON.parse(readFileSync(join(dataFolder, 'settings.json'), 'utf8')) as { runDir: string };
  const socket = connect(join(runDir, 'emulated-shell'));
  try {
    return await new Promise<string>((resolve, reject) => {
      let text = '';
      const late = setTimeout(
        () => reject(new Error(`no end of the answer after ${deadlineMs} ms:\n${text}`)),
        deadlineMs,
      );
      socket.on('error', reject).on('close', () => {
        clearTimeout(late);
        reject(new Error(`the shell has ended:\n${text}`));
      });
      socket.setEncoding('utf8').on('data', (part: string) => {
        text += part;
        const end = text.indexOf(END);
        if (end < 0) return;
        clearTimeout(late);
        resolve(text.slice(0, end));
      });
      // The mark is put together over there, so that it is not found in what was sent.
      socket.write(`{ ${script}\n} </dev/null 2>&1; printf '%s%s' '${END.slice(0, 5)}' '${END.slice(5)}'\n`);
    });
  } finally {
    socket.destroy();
  }
}
