import { Option, type Command } from 'commander';
import { ROLES, type Token } from '#protocol';
import { contextOf } from '../commands/context';
import { durationOption } from '../commands/option-types';
import { age, clock } from '../output/quantities';
import { table } from '../output/table';

interface MadeToken {
  token: Token;
  secret: string;
}

interface CreateOptions {
  role: Token['role'];
  tenant?: string;
  expires?: number;
}

export function addTokenCommand(program: Command): void {
  const token = program.command('token').description('make, list, rotate and revoke tokens of the REST API');
  token
    .command('create <name>')
    .description('make a token and print its secret, which is shown this once; NAME says who uses it')
    .addOption(new Option('--role <role>', 'what it may do').choices(ROLES).makeOptionMandatory())
    .option('--tenant <id>', 'whose it is; needed for all but operators and readers of the whole fleet')
    .option('--expires <time>', 'when it ends, such as 12h or 30d; else never', durationOption)
    .action(async (name: string, { role, tenant, expires }: CreateOptions, command: Command) => {
      const body = {
        name,
        role,
        ...(tenant === undefined ? {} : { tenant }),
        ...(expires === undefined ? {} : { ttlSeconds: Math.max(1, Math.round(expires / 1_000)) }),
      };
      await show(command, (client) => client.post<MadeToken>('/v1/tokens', { body }));
    });
  token
    .command('rotate <id>')
    .description('make a token like this one and print its secret; the old one ends at once, or after a while')
    .option('--grace <time>', 'how long the old secret is still good, such as 1h', durationOption, 0)
    .action(async (id: string, { grace }: { grace: number }, command: Command) => {
      const body = { graceSeconds: Math.round(grace / 1_000) };
      await show(command, (client) => client.post<MadeToken>(`/v1/tokens/${encodeURIComponent(id)}/rotate`, { body }));
    });
  token
    .command('list', { isDefault: true })
    .description('list tokens, those that have ended too')
    .option('--tenant <id>', 'only those of this tenant')
    .action(async ({ tenant }: { tenant?: string }, command: Command) => {
      const { client, out } = contextOf(command);
      const { items } = await client.get<{ items: Token[] }>('/v1/tokens', { query: { tenant } });
      if (out.json) return out.document({ items });
      const now = Date.now();
      out.line(
        table(
          [
            { title: 'ID', value: ({ id }) => id },
            { title: 'NAME', value: ({ name }) => name },
            { title: 'ROLE', value: ({ role }) => role },
            { title: 'TENANT', value: (one) => one.tenant },
            { title: 'STATE', value: (one) => stateOf(one, now) },
            { title: 'EXPIRES', value: ({ expiresAt }) => (expiresAt === null ? 'never' : clock(expiresAt)) },
            { title: 'AGE', value: ({ createdAt }) => age(now - createdAt), align: 'right' },
          ],
          items,
        ),
      );
    });
  token
    .command('revoke <id>')
    .description('end a token, and what goes on with it, within a second')
    .action(async (id: string, _options: object, command: Command) => {
      const { client, out } = contextOf(command);
      const revoked = await client.delete<Token>(`/v1/tokens/${encodeURIComponent(id)}`);
      if (out.json) out.document(revoked);
      else out.line(`${revoked.id} ${revoked.name} is revoked`);
    });
}

/** The secret alone on stdout, so that it can go into a file. */
async function show(
  command: Command,
  make: (client: ReturnType<typeof contextOf>['client']) => Promise<MadeToken>,
): Promise<void> {
  const { client, out } = contextOf(command);
  const made = await make(client);
  if (out.json) return out.document(made);
  out.note(`${made.token.id} ${made.token.name}: this is its secret, which is not shown again`);
  out.line(made.secret);
}

function stateOf({ revokedAt, expiresAt }: Token, now: number): string {
  if (revokedAt !== null) return 'revoked';
  return expiresAt !== null && expiresAt <= now ? 'expired' : 'good';
}
