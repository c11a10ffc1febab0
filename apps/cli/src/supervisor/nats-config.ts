/** The embedded nats-server: on the loopback alone, behind a token, with JetStream in the data folder. */
export function natsConfig({ port, token, storeDir }: { port: number; token: string; storeDir: string }): string {
  return `# Written by volley up.
server_name: volley
host: 127.0.0.1
port: ${port}
authorization { token: ${JSON.stringify(token)} }
max_payload: 1048576
jetstream { store_dir: ${JSON.stringify(storeDir)} }
`;
}
