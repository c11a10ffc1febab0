import { permissionsOf } from './permissions';
import type { Party } from './party';

export interface User {
  party: Party;
  /** Public key: `U` and 55 characters. */
  publicKey: string;
}

/** How long an answer of a host may take, at most. Longer than any deadline of what is asked of hosts; the server remembers each for as long. */
const ANSWER_WITHIN = '30s';

/**
 * Seconds for a client to show its key. The server's own 2 s do not do for a host that is overloaded or emulated: it would be turned
 * away for being slow, and signing once more would make it slower.
 */
const SHOW_KEY_WITHIN_SECONDS = 15;

/** The part of nats-server's configuration that says who may come in and what each may do. Holds no secret. */
export function usersConfig(users: readonly User[]): string {
  return `# Written by volley keys. nats-server reads it again on SIGHUP.\nauthorization {\n  timeout: ${SHOW_KEY_WITHIN_SECONDS}\n  users = [\n${users.map(userEntry).join('')}  ]\n}\n`;
}

function userEntry({ party, publicKey }: User): string {
  const { publish, subscribe, answers } = permissionsOf(party);
  return `    {
      nkey: ${publicKey}
      permissions: {
        publish: { allow: [${publish.map(quoted).join(', ')}] }
        subscribe: { allow: [${subscribe.map(quoted).join(', ')}] }
${answers ? `        allow_responses: { max: 1, expires: "${ANSWER_WITHIN}" }\n` : ''}      }
    }
`;
}

/** JSON is a part of nats-server's language. */
const quoted = (text: string): string => JSON.stringify(text);
