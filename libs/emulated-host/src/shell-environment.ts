/** Lines that a shell reads: nothing in a value is anything but text. */
export function shellEnvironment(environment: Readonly<Record<string, string>>): string {
  return Object.entries(environment)
    .map(([name, value]) => `export ${name}=${quoted(value)}\n`)
    .join('');
}

/** A script that becomes a program, with exactly these arguments, in a folder, with an environment. */
export function shellCommand(
  argv: readonly string[],
  workingFolder: string,
  environment: Readonly<Record<string, string>>,
): string {
  return `${shellEnvironment(environment)}cd ${quoted(workingFolder)} || exit 126\nexec ${argv.map(quoted).join(' ')}\n`;
}

/** One word of a shell that is exactly this text. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
