import { z } from 'zod';

/** Thrown by {@link readConfig}; its message lists every wrong setting and is meant for the operator as it is. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/**
 * Reads a service's settings: the field `natsUrl` comes from `--nats-url URL` or else from `VOLLEY_NATS_URL`. Values are text,
 * so use `z.coerce.number()`, `z.stringbool()` and the like. A flag without a value reads `true`.
 *
 * @throws ConfigError naming every setting that is missing or wrong, and every unknown flag.
 */
export function readConfig<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  argv: readonly string[] = process.argv.slice(2),
  env: Readonly<Record<string, string | undefined>> = process.env,
): z.output<z.ZodObject<Shape>> {
  const fields = Object.keys(schema.shape);
  const problems: string[] = [];
  const values: Record<string, string> = {};
  for (const field of fields) {
    const value = env[envName(field)];
    if (value !== undefined) values[field] = value;
  }
  for (let i = 0; i < argv.length; i++) {
    const [flag, inline] = splitFlag(argv[i]!);
    const field = fields.find((name) => flagName(name) === flag);
    const next = argv[i + 1];
    if (!field) {
      problems.push(`${flag}: unknown; known are ${fields.map(flagName).join(', ')}`);
      if (inline === undefined && flag.startsWith('--') && next !== undefined && !next.startsWith('--')) i++;
      continue;
    }
    if (inline !== undefined) values[field] = inline;
    else if (next !== undefined && !next.startsWith('--')) values[field] = argv[++i]!;
    else values[field] = 'true';
  }
  const result = schema.safeParse(values);
  if (!result.success) {
    for (const issue of result.error.issues) {
      const field = String(issue.path[0] ?? '');
      const given = field in values ? '' : ' (not given)';
      problems.push(`${flagName(field)} or ${envName(field)}: ${issue.message}${given}`);
    }
  }
  if (problems.length > 0 || !result.success) throw new ConfigError(`wrong settings:\n  ${problems.join('\n  ')}`);
  return result.data;
}

function splitFlag(text: string): [string, string | undefined] {
  const at = text.indexOf('=');
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

function envName(field: string): string {
  return `VOLLEY_${field.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

function flagName(field: string): string {
  return `--${field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** What the process manager sees when the settings are wrong (EX_CONFIG of sysexits.h): trying again will not help. */
const EXIT_CONFIG = 78;

/** Does what needs good settings; on a {@link ConfigError} tells the operator in plain words and ends the process with 78. */
export function orExit<T>(service: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`volley-${service}: ${error.message}\n`);
    process.exit(EXIT_CONFIG);
  }
}
