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
      const drawings = await draw();
      if (out.json) out.document(drawings);
      else if (write === undefined) out.raw(pageOf(drawings));
      else writeFileSync(write, pageOf(drawings));
    });
}

async function draw(): Promise<Record<string, string>> {
  const { hostMachine, microvmMachine, toMermaid } = await import('#lifecycle');
  return { microVM: toMermaid(microvmMachine), host: toMermaid(hostMachine) };
}

/** The page that docs/machines.md holds; made by `npm run docs:machines`. */
export function pageOf(drawings: Record<string, string>): string {
  const parts = Object.entries(drawings).map(([name, drawing]) => `## The ${name}\n\n\`\`\`mermaid\n${drawing.trimEnd()}\n\`\`\`\n`);
  return `# The machines\n\nDrawn from the definitions in \`libs/lifecycle\` by \`./volley machines\`; a test keeps this page current.\n\n${parts.join('\n')}`;
}
