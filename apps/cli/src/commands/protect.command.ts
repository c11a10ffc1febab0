import { Argument, type Command } from 'commander';
import type { Microvm } from '#protocol';
import { resolveId } from '../rest/resolve-id';
import { contextOf } from './context';

/** `volley protect ID on|off`. */
export function addProtectCommand(program: Command): void {
  program
    .command('protect <id>')
    .description(
      'protect a microVM from being deleted, or lift that; lifted after its time to live is over, it is deleted',
    )
    .addArgument(new Argument('<state>', 'whether it is protected').choices(['on', 'off']))
    .action(async (name: string, state: 'on' | 'off', _options: object, command: Command) => {
      const { client, out } = contextOf(command);
      const id = await resolveId(client, name);
      const body = { enabled: state === 'on' };
      const { body: microvm } = await client.answer<Microvm>('POST', `/v1/microvms/${id}/protection`, { body });
      if (out.json) out.document(microvm);
      else out.line(`${id} ${microvm.deleteProtection ? 'protected' : 'not protected'}`);
    });
}
