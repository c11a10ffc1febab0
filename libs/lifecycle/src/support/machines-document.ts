import { hostMachine, HOST_LIMITS } from '../host/host.machine';
import { MICROVM_LIMITS } from '../microvm/microvm.limits';
import { microvmMachine } from '../microvm/microvm.machine';
import { toMermaid } from './mermaid';

/** The page docs/machines.md: the machines as pictures with their limits. */
export function machinesDocument(): string {
  return [
    '# The machines',
    '',
    'Drawn from the definitions in `libs/lifecycle` by `./volley machines --write docs/machines.md`; a test keeps this page current.',
    '',
    '## microVM',
    '',
    'Facts of a host count only for the incarnation they name. `deleteRequested` is accepted in every state.',
    '',
    '```mermaid',
    toMermaid(microvmMachine).trimEnd(),
    '```',
    '',
    limitsTable(MICROVM_LIMITS),
    '',
    '## host',
    '',
    '```mermaid',
    toMermaid(hostMachine).trimEnd(),
    '```',
    '',
    limitsTable(HOST_LIMITS),
    '',
  ].join('\n');
}

function limitsTable(limits: Record<string, number>): string {
  const rows = Object.entries(limits).map(([name, value]) => `| ${name} | ${value} |`);
  return ['| limit | ms, or a count |', '| --- | --- |', ...rows].join('\n');
}
