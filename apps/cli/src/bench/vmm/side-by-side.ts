import type { Contender, GuestMachine } from './contender';
import { HOST_ADDRESS } from './guest';
import type { Figures } from './measured';
import type { Stage } from './stage';

export interface SideBySideOptions {
  stage: Stage;
  contenders: readonly Contender[];
  machine: GuestMachine;
  rounds: number;
  /** Of the measured disk; 0 = none. */
  diskMiB: number;
  /** For a guest with a tap: the program `ip`, and what listens on the host's side for as long as it takes. */
  network?: { ip: string; server: readonly string[] };
  /** What one turn of a contender has measured, from what it printed. */
  read: (console: string, contender: Contender) => Figures;
  progress: (text: string) => void;
}

/** What a guest may take beyond what it is to measure: booting, starting programs. */
const AROUND_MS = 120_000;

/** Runs the contenders in turn, round by round, so that what else goes on meets them alike. Gives each its rounds. */
export async function sideBySide(options: SideBySideOptions): Promise<Map<string, Figures[]>> {
  const { stage, contenders, machine, rounds, read, progress } = options;
  const runs = Array.from({ length: rounds }, (_, round) =>
    contenders.map((contender) => ({ round, contender })),
  ).flat();
  const script = [
    ...setUp(options),
    ...runs.flatMap(({ round, contender }) => [
      `echo '${markOf(contender, round)} begins'`,
      `${contender.argv(stage.files, machine).map(quoted).join(' ')} </dev/null 2>&1`,
      `echo '${markOf(contender, round)} ends'`,
    ]),
    'exit 0',
  ].join('\n');
  let text = '';
  let shown = 0;
  const console = await stage.play(script, runs.length * machine.lifetimeS * 1_000 + AROUND_MS, (part) => {
    text += part;
    for (
      ;
      shown < runs.length && text.includes(`${markOf(runs[shown]!.contender, runs[shown]!.round)} begins`);
      shown++
    ) {
      progress(`${runs[shown]!.contender.name}, round ${runs[shown]!.round + 1} of ${rounds}`);
    }
  });
  const results = new Map<string, Figures[]>(contenders.map(({ name }) => [name, []]));
  for (const { round, contender } of runs) {
    const mark = markOf(contender, round);
    const part = console.split(`${mark} begins`)[1]?.split(`${mark} ends`)[0] ?? '';
    results.get(contender.name)!.push(read(part, contender));
  }
  return results;
}

function setUp({ stage, diskMiB, machine, network }: SideBySideOptions): string[] {
  const lines: string[] = [];
  if (diskMiB > 0)
    lines.push(`dd if=/dev/urandom of=${quoted(stage.files.disk)} bs=1M count=${diskMiB} 2>/dev/null || exit 1`);
  if (machine.tap !== undefined && network) {
    const { ip } = network;
    lines.push(
      `${ip} link set lo up`,
      `${ip} tuntap add dev ${machine.tap} mode tap vnet_hdr || exit 1`,
      `${ip} addr add ${HOST_ADDRESS}/30 dev ${machine.tap}`,
      `${ip} link set ${machine.tap} up`,
    );
    lines.push(`${network.server.map(quoted).join(' ')} >/dev/null 2>&1 &`);
  }
  return lines;
}

function markOf({ name }: Contender, round: number): string {
  return `bench: ${name} ${round}`;
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
