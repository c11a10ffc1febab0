import type { Command } from 'commander';
import { outputTo, type Output } from '../output/output';
import { RestClient } from '../rest/rest-client';
import { targetOf } from '../rest/target';

/** Options that every command takes. */
export interface GlobalOptions {
  url?: string;
  tokenFile?: string;
  caFile?: string;
  data: string;
  json?: boolean;
}

/** What a command works with. */
export interface Context {
  readonly client: RestClient;
  readonly out: Output;
  readonly data: string;
}

export function contextOf(command: Command): Context {
  const options = command.optsWithGlobals<GlobalOptions>();
  return {
    client: new RestClient(targetOf(options)),
    out: outputOf(command),
    data: options.data,
  };
}

export function outputOf(command: Command): Output {
  return outputTo(process.stdout, process.stderr, command.optsWithGlobals<GlobalOptions>().json === true);
}
