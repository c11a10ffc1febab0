import { setTimeout as pause } from 'node:timers/promises';
import { Argument, Option, type Command } from 'commander';
import { contextOf } from '../commands/context';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import type { Output } from '../output/output';
import type { RestClient } from '../rest/rest-client';
import { VIEWS, type Filter, type Look, type View } from './top-reader';
import { afterKey, roundsOf, screenOf, stateOf, type TopState } from './top-state';

interface TopOptions extends Filter {
  sort?: string;
  reverse?: boolean;
  interval: number;
  once?: boolean;
}

/** ANSI: to the upper left corner, and clear what is below. */
const FRESH = '\x1b[H\x1b[J';

export function addTopCommand(program: Command): void {
  program
    .command('top')
    .description('who takes what, live: hosts, tenants or microVMs; promised, resident, CPU, wait, I/O, headroom')
    .addArgument(new Argument('[what]', 'what to look at').choices(VIEWS.map(({ name }) => name)).default('hosts'))
    .option('--host <id>', 'only this host, or microVMs there')
    .option('--tenant <id>', 'only this tenant, or its microVMs')
    .option(
      '--sort <column>',
      `by this column: ${VIEWS.map(({ columns }) => columns.map(({ key }) => key).join(' ')).join('; ')}`,
    )
    .option('--reverse', 'the other way round')
    .addOption(new Option('--interval <seconds>', 'between two looks').argParser(seconds).default(2))
    .option('--once', 'two looks, one interval apart, so that there are rates; then the table, and the end')
    .action(async (what: string, options: TopOptions, command: Command) => {
      const { client, out } = contextOf(command);
      const view = VIEWS.find(({ name }) => name === what)!;
      const state = stateOf(view, options.sort);
      if (!state) {
        const keys = view.columns.map(({ key }) => key).join(', ');
        throw new CliError(`${what} have no column ${options.sort}; there are ${keys}`, ExitCode.usage);
      }
      await new Top(client, out, options, { ...state, reverse: options.reverse ?? false }).run();
    });
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value >= 0.2 && value <= 3_600)) throw new CliError('--interval takes 0.2 to 3600 seconds', ExitCode.usage);
  return value;
}

/** Looks again and again, until it is told to end. */
class Top {
  readonly #end = new AbortController();
  /** The view that `#before` is of, and `#last`. */
  #seen: View | undefined;
  #before: Look | undefined;
  #last: Look | undefined;

  constructor(
    private readonly client: RestClient,
    private readonly out: Output,
    private readonly options: TopOptions,
    private state: TopState,
  ) {}

  async run(): Promise<void> {
    const isScreen = !this.options.once && !this.out.json && process.stdout.isTTY;
    const release = isScreen ? this.#listen() : () => undefined;
    try {
      for (let looks = 1; !this.#end.signal.aborted; looks++) {
        await this.#look();
        if (!this.options.once || looks === 2) this.#show(isScreen);
        if (this.options.once && looks === 2) return;
        await pause(this.options.interval * 1_000, undefined, { signal: this.#end.signal }).catch(() => undefined);
      }
    } finally {
      release();
    }
  }

  async #look(): Promise<void> {
    const { view } = this.state;
    const read = await view.read(this.client, this.options);
    const before = this.#seen === view ? this.#last : undefined;
    this.#seen = view;
    this.#before = before;
    this.#last = { atMs: Date.now(), ...read };
  }

  #show(isScreen: boolean): void {
    const { state, out } = this;
    // Another view was chosen, and is not read yet.
    if (!this.#last || this.#seen !== state.view) return;
    if (out.json) {
      const items = roundsOf(state, this.#last, this.#before).map(({ now }) => now as unknown);
      const document = { at: this.#last.atMs, what: state.view.name, items };
      return this.options.once ? out.document(document) : out.entry(document);
    }
    const { rows = 24, columns = 80 } = process.stdout;
    const text = screenOf(state, this.#last, this.#before, isScreen ? { rows, columns } : undefined);
    if (isScreen) out.raw(`${FRESH}${text}\n`);
    else out.line(text);
  }

  /** Takes keys one by one. Returns the way to give the keyboard back. */
  #listen(): () => void {
    const { stdin } = process;
    const onKey = (keys: Buffer): void => {
      for (const key of keys.toString()) {
        const next = afterKey(this.state, key);
        if (next === 'quit') return this.#end.abort();
        if (!next) continue;
        this.state = next;
        this.#show(true);
      }
    };
    if (stdin.isTTY) stdin.setRawMode(true);
    stdin.on('data', onKey).resume();
    return () => {
      stdin.off('data', onKey).pause();
      if (stdin.isTTY) stdin.setRawMode(false);
    };
  }
}
