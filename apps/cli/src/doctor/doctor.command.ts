import type { Command } from 'commander';
import { resolve } from 'node:path';
import { type GlobalOptions, outputOf } from '../commands/context';
import { CliError } from '../errors';
import { table } from '../output/table';
import { examine } from './checks';
import type { Finding } from './finding';
import { thisHost } from './host-view';

export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('what this host can and cannot do, and what to change')
    .action((_options: object, command: Command) => {
      const out = outputOf(command);
      const findings = examine(thisHost(resolve(command.optsWithGlobals<GlobalOptions>().data)));
      if (out.json) out.document({ findings });
      else {
        out.line(
          table<Finding>(
            [
              { title: '', value: ({ verdict }) => verdict },
              { title: 'CHECK', value: ({ check }) => check },
              { title: 'FOUND', value: ({ found }) => found },
            ],
            findings,
          ),
        );
        const advice = findings.filter((one) => one.advice !== undefined);
        if (advice.length > 0) out.line();
        for (const { check, advice: text, verdict } of advice)
          out.line(`${verdict === 'fail' ? 'must' : 'could'}  ${check}: ${text}`);
      }
      const failed = findings.filter(({ verdict }) => verdict === 'fail').map(({ check }) => check);
      if (failed.length > 0) throw new CliError(`this host cannot run microVMs as it is: ${failed.join(', ')}`);
    });
}
