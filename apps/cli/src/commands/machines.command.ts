import type { Command } from 'commander';
import { writeFileSync } from 'node:fs';
import { outputOf } from './context';

export function addMachinesCommand(program: Command): void {
  program
    .command('machines')
    .description('draw the machines of microVM and host as Mermaid diagrams')
    .option('--write <file>', 'as a Markdown page into this file')
    .action(async ({ write }: { write?: string }, command: Command) => {
      const out = outputOf(command);
      // Loaded here, since no other command needs the machines.
      const { hostMachine, machinesDocument, microvmMachine, toMermaid } = await import('#lifecycle');
      if (write !== undefined) writeFileSync(write, machinesDocument());
      else if (out.json) out.document({ microvm: toMermaid(microvmMachine), host: toMermaid(hostMachine) });
      else out.raw(machinesDocument());
    });
}
