import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { nameOf, partyNamed, usersConfig, type Party } from '#access';
import { makeNkey } from '#keys';
import { CliError } from '../errors';
import { writeWhole } from '../supervisor/data-folder';

const KeyRecord = z.strictObject({
  /** Whose it is: `controller`, `host-HOSTID`. */
  name: z.string().refine((name) => partyNamed(name) !== undefined),
  publicKey: z.string().regex(/^U[A-Z2-7]{55}$/),
  /** ms since 1970 */
  createdAt: z.number(),
  /** Replaced by another one, and refused from then on; ms since 1970. */
  retiresAt: z.number().optional(),
});
export type KeyRecord = z.infer<typeof KeyRecord>;

const Ring = z.strictObject({ keys: z.array(KeyRecord) });

/**
 * The keys of a fleet, in a folder that only its owner may enter: the seed of each party in `NAME.nk` (the secret), its public key in `NAME.pub`, which
 * public keys are good in `ring.json`, and `users.conf`, which nats-server includes. A seed may be moved to its machine and deleted here.
 */
export class KeyRing {
  private constructor(
    readonly folder: string,
    private keys: KeyRecord[],
  ) {}

  /** Makes the folder when it is missing. @throws CliError when it cannot be used, or others may enter it. */
  static open(folder: string): KeyRing {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (statSync(folder).mode & 0o077) {
      throw new CliError(`others may enter ${folder}, where keys are; run: chmod 700 ${folder}`);
    }
    return new KeyRing(folder, readRing(join(folder, 'ring.json')));
  }

  get records(): readonly KeyRecord[] {
    return this.keys;
  }

  /** The part of nats-server's configuration that lets these keys in. */
  get usersFile(): string {
    return join(this.folder, 'users.conf');
  }

  /** The secret of a party's newest key. */
  seedFile(party: Party): string {
    return join(this.folder, `${nameOf(party)}.nk`);
  }

  has(party: Party): boolean {
    return this.#current(party) !== undefined;
  }

  /** Makes a key for a party that has none. False: it has one. */
  add(party: Party, nowMs: number): boolean {
    if (this.has(party)) return false;
    this.#make(party, nowMs);
    this.save();
    return true;
  }

  /** Makes a new key; the one before is good for `overlapMs` more. @throws CliError when the party has no key. */
  rotate(party: Party, overlapMs: number, nowMs: number): void {
    const current = this.#current(party);
    if (!current) throw new CliError(`${nameOf(party)} has no key; make one with: volley keys add ${nameOf(party)}`);
    current.retiresAt = nowMs + overlapMs;
    this.#make(party, nowMs);
    this.prune(nowMs);
    this.save();
  }

  /** Takes every key of a party away. @throws CliError when it has none. */
  remove(party: Party): void {
    const left = this.keys.filter(({ name }) => name !== nameOf(party));
    if (left.length === this.keys.length) throw new CliError(`${nameOf(party)} has no key`);
    this.keys = left;
    for (const kind of ['nk', 'pub']) rmSync(join(this.folder, `${nameOf(party)}.${kind}`), { force: true });
    this.save();
  }

  /** Takes away the keys that were replaced and whose time is over. Gives how many; {@link save} makes it known. */
  prune(nowMs: number): number {
    const left = this.keys.filter(({ retiresAt }) => retiresAt === undefined || retiresAt > nowMs);
    const gone = this.keys.length - left.length;
    this.keys = left;
    return gone;
  }

  /** Writes down which keys are good, for us and for nats-server. */
  save(): void {
    const users = this.keys.map(({ name, publicKey }) => ({ party: partyNamed(name)!, publicKey }));
    writeWhole(join(this.folder, 'ring.json'), `${JSON.stringify({ keys: this.keys }, null, 2)}\n`);
    writeWhole(this.usersFile, usersConfig(users));
  }

  #current(party: Party): KeyRecord | undefined {
    return this.keys.find(({ name, retiresAt }) => name === nameOf(party) && retiresAt === undefined);
  }

  /** The seed first: a key that nobody holds opens nothing, a key that is good and lost must be replaced. */
  #make(party: Party, nowMs: number): void {
    const { seed, publicKey } = makeNkey();
    writeWhole(this.seedFile(party), `${seed}\n`);
    writeWhole(join(this.folder, `${nameOf(party)}.pub`), `${publicKey}\n`);
    this.keys.push({ name: nameOf(party), publicKey, createdAt: nowMs });
  }
}

function readRing(file: string): KeyRecord[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new CliError(`the list of keys cannot be read: ${(error as Error).message}`);
  }
  try {
    return Ring.parse(JSON.parse(text)).keys;
  } catch {
    throw new CliError(`${file} is no list of keys; restore it from a backup, or remove the folder to begin anew`);
  }
}
