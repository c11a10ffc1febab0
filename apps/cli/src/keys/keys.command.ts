import { join } from 'node:path';
import type { Command } from 'commander';
import { nameOf, PARTIES, partyNamed, type Party } from '#access';
import { outputOf, type GlobalOptions } from '../commands/context';
import { durationOption } from '../commands/option-types';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import type { Output } from '../output/output';
import { age, duration } from '../output/quantities';
import { table } from '../output/table';
import { DataFolder } from '../supervisor/data-folder';
import { CertificateAuthority } from './certificates';
import { KeyRing } from './key-ring';
import { reloadNats } from './reload-nats';

const OVERLAP_MS = 3_600_000;

interface KeysOptions extends GlobalOptions {
  keys?: string;
}

/** What each `volley keys` command works with. */
interface Keys {
  folder: DataFolder;
  ring: KeyRing;
  out: Output;
}

export function addKeysCommand(program: Command): void {
  const keys = program
    .command('keys')
    .description('keys of services and hosts for NATS, and certificates')
    .option('--keys <dir>', 'folder of the keys; default: keys in the data folder');
  keys
    .command('list', { isDefault: true })
    .description('list keys')
    .action((_options: object, command: Command) => list(open(command)));
  keys
    .command('add [names...]')
    .description(`make keys that are missing: ${PARTIES.join(', ')} (without names: all of them), host-HOSTID`)
    .action((names: string[], _options: object, command: Command) => {
      const opened = open(command);
      const added = (names.length === 0 ? PARTIES : names.map(party)).filter((one) => opened.ring.add(one, Date.now()));
      tell(opened, added, (name, seed) => `${name}: ${seed}`);
    });
  keys
    .command('rotate <names...>')
    .description('make new keys in place of those there are')
    .option('--overlap <duration>', 'how long the old ones stay good', durationOption, OVERLAP_MS)
    .action((names: string[], { overlap }: { overlap: number }, command: Command) => {
      const opened = open(command);
      const parties = names.map(party);
      for (const one of parties) opened.ring.rotate(one, overlap, Date.now());
      tell(opened, parties, (name, seed) => `${name}: ${seed}; the old key is good for ${duration(overlap)} more`);
      if (opened.out.json || overlap === 0) return;
      opened.out.note(
        'Put the new seeds in place of the old ones before; services take them when they connect anew. Then: volley keys prune',
      );
    });
  keys
    .command('remove <names...>')
    .description('take keys away: whoever has them is thrown out and let in no more')
    .action((names: string[], _options: object, command: Command) => {
      const opened = open(command);
      for (const one of names.map(party)) opened.ring.remove(one);
      tell(opened, names.map(party), (name) => `${name}: removed`);
    });
  keys
    .command('prune')
    .description('take away replaced keys whose overlap is over')
    .action((_options: object, command: Command) => {
      const opened = open(command);
      const pruned = opened.ring.prune(Date.now());
      opened.ring.save();
      const reloaded = reloadNats(opened.folder);
      if (opened.out.json) opened.out.document({ pruned, reloaded });
      else opened.out.line(`${pruned} taken away.`);
    });
  keys
    .command('tls <server> <hosts...>')
    .description('make a certificate for a server by its names and addresses, of an authority of our own')
    .action((server: string, hosts: string[], _options: object, command: Command) => {
      const { ring, out } = open(command);
      const made = CertificateAuthority.open(join(ring.folder, 'tls')).issue(server, hosts);
      if (out.json) return out.document(made);
      out.line(`certificate  ${made.certFile}\nkey          ${made.keyFile}\nauthority    ${made.caFile}`);
    });
}

function open(command: Command): Keys {
  const { data, keys } = command.optsWithGlobals<KeysOptions>();
  const folder = DataFolder.at(data);
  return { folder, ring: KeyRing.open(keys ?? folder.keys), out: outputOf(command) };
}

function party(name: string): Party {
  const found = partyNamed(name);
  if (found) return found;
  throw new CliError(`${JSON.stringify(name)} is none of ${PARTIES.join(', ')} and host-HOSTID`, ExitCode.usage);
}

function list({ ring, out }: Keys): void {
  if (out.json) return out.document({ folder: ring.folder, items: ring.records });
  const now = Date.now();
  const rows = [...ring.records];
  out.line(
    table(
      [
        { title: 'NAME', value: ({ name }) => name },
        { title: 'PUBLIC KEY', value: ({ publicKey }) => publicKey },
        { title: 'AGE', value: ({ createdAt }) => age(now - createdAt), align: 'right' },
        { title: 'STATE', value: ({ retiresAt }) => stateOf(retiresAt, now) },
      ],
      rows,
    ),
  );
}

function stateOf(retiresAt: number | undefined, now: number): string {
  if (retiresAt === undefined) return 'good';
  return retiresAt > now ? `good for ${duration(retiresAt - now)} more` : 'over; volley keys prune takes it away';
}

/** Says what became of keys, and has running servers know. */
function tell(
  { folder, ring, out }: Keys,
  parties: readonly Party[],
  line: (name: string, seed: string) => string,
): void {
  const reloaded = reloadNats(folder);
  if (out.json) {
    const keys = parties.map((one) => ({ name: nameOf(one), seedFile: ring.seedFile(one) }));
    return out.document({ keys, usersFile: ring.usersFile, reloaded });
  }
  for (const one of parties) out.line(line(nameOf(one), ring.seedFile(one)));
  out.note(
    reloaded > 0
      ? `${reloaded} nats-server of this folder read it.`
      : `Known to nats-server once it has read ${ring.usersFile}: send it SIGHUP.`,
  );
}
