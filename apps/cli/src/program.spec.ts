import { COMMAND_TABLE } from './command-table';
import { ExitCode } from './exit-code';
import { runVolley, volleyProgram } from './program';
import { volleyVersion } from './version';

describe('the volley command', () => {
  const namesOf = async (words?: string[]): Promise<string[]> =>
    (await volleyProgram(words)).commands.flatMap((command) => [command.name(), ...command.aliases()]);

  it.each(COMMAND_TABLE)('has $names from where the table says', async ({ names }) => {
    for (const name of names) expect(await namesOf([name, '--json'])).toEqual(names);
  });

  it('has all of them, each once, when none is named', async () => {
    const all = COMMAND_TABLE.flatMap(({ names }) => names);
    for (const words of [undefined, [], ['--help'], ['--json', '-h', 'ps'], ['nothing-such']])
      expect(await namesOf(words)).toEqual(all);
    expect(new Set(all).size).toBe(all.length);
  });

  it('knows what a word means that is also the name of a command', async () => {
    expect(await namesOf(['exec', 'web', 'ps'])).toEqual(expect.arrayContaining(['exec', 'ps']));
  });

  it('says which version it is', async () => {
    const write = jest.spyOn(process.stdout, 'write').mockReturnValue(true);
    await expect(runVolley('--version')).rejects.toMatchObject({ exitCode: ExitCode.ok });
    expect(write).toHaveBeenCalledWith(`${volleyVersion()}\n`);
    write.mockRestore();
  });
});
