import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { contextOf } from '../commands/context';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import { resolveId } from '../rest/resolve-id';
import type { RestClient } from '../rest/rest-client';
import { parsePlace, type CopyPlace } from './copy-place';
import { packLocal } from './pack-local';
import { unpackLocal } from './unpack-local';

/** The answer comes when all is copied. */
const COPY_MS = 24 * 3_600_000;

export function addCpCommand(program: Command): void {
  program
    .command('cp <from> <to>')
    .description('copy files and folders into a microVM, or out of it')
    .addHelpText(
      'after',
      `
One side is ID:/path in a guest, the other a path here, or - for a tar archive on standard input or output:
  volley cp ./site web:/srv/          into the folder /srv
  volley cp web:/etc/os-release .     into this folder
  volley cp web:/var/log - | tar -t`,
    )
    .action(async (fromText: string, toText: string, _options: object, command: Command) => {
      const { client } = contextOf(command);
      const [from, to] = [parsePlace(fromText), parsePlace(toText)];
      if (to.kind === 'guest' && from.kind !== 'guest') return copyIn(client, from, to);
      if (from.kind === 'guest' && to.kind !== 'guest') return copyOut(client, from, to);
      const both =
        from.kind === 'guest'
          ? 'both sides are in a guest; go through: volley cp A:/x - | volley cp - B:/y'
          : undefined;
      throw new CliError(both ?? 'one side must be in a guest: ID:/path', ExitCode.usage);
    });
}

type Guest = Extract<CopyPlace, { kind: 'guest' }>;
type Here = Exclude<CopyPlace, { kind: 'guest' }>;

async function copyIn(client: RestClient, from: Here, to: Guest): Promise<void> {
  const tar = from.kind === 'stream' ? process.stdin : await packLocal(from.path);
  const id = await resolveId(client, to.name);
  await client.upload(`/v1/microvms/${id}/files`, tar, { query: { path: to.path }, deadlineMs: COPY_MS });
}

async function copyOut(client: RestClient, from: Guest, to: Here): Promise<void> {
  const id = await resolveId(client, from.name);
  const tar = await client.download(`/v1/microvms/${id}/files`, { query: { path: from.path } });
  try {
    if (to.kind === 'stream') await pipeline(tar, process.stdout, { end: false });
    else await unpackLocal(tar, to.path);
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`the copy broke off: ${(error as Error).message}`);
  } finally {
    tar.destroy();
  }
}
