/** What GatheringTransport takes of the NATS client that is no part of its published face, with what makes it fit. */
const PARTS: [module: string, what: string, isThere: (exports: Exports) => boolean][] = [
  ['nats', 'setTransportFactory(...)', ({ setTransportFactory }) => isFunction(setTransportFactory)],
  ['nats', 'NatsConnectionImpl.connect(options)', ({ NatsConnectionImpl }) => has(NatsConnectionImpl, 'connect')],
  ['nats/lib/node_transport', 'class NodeTransport', ({ NodeTransport }) => isFunction(NodeTransport)],
  [
    'nats/lib/node_transport',
    'NodeTransport.send(frame)',
    ({ NodeTransport }) => has(prototypeOf(NodeTransport), 'send', 1),
  ],
  [
    'nats/lib/node_transport',
    'NodeTransport.close(error)',
    ({ NodeTransport }) => has(prototypeOf(NodeTransport), 'close', 1),
  ],
  ['nats/lib/node_transport', 'nodeResolveHost(...)', ({ nodeResolveHost }) => isFunction(nodeResolveHost)],
];

type Exports = Record<string, unknown>;
const isFunction = (value: unknown): value is (...args: unknown[]) => unknown => typeof value === 'function';
const prototypeOf = (value: unknown): unknown => (isFunction(value) ? (value.prototype as unknown) : undefined);
const has = (value: unknown, name: string, parameters?: number): boolean => {
  const member = (value as Exports | undefined)?.[name];
  return isFunction(member) && (parameters === undefined || member.length === parameters);
};

/** A sentence for each part that is not there. */
async function missing(load: (module: string) => Promise<Exports>): Promise<string[]> {
  const sentences: string[] = [];
  for (const [module, what, isThere] of PARTS) {
    const exports = await load(module).catch(() => ({}));
    if (isThere(exports)) continue;
    sentences.push(
      `this version of the NATS client has no ${what} in ${module}: pin the one before, or write libs/bus/src/gathering-transport.ts anew`,
    );
  }
  return sentences;
}

describe('the inner parts of the NATS client that gathering builds on', () => {
  it('are those of the pinned version', async () => {
    expect(await missing((module) => import(module) as Promise<Exports>)).toEqual([]);
  });

  it('are missed with a sentence that says what to do', async () => {
    class NodeTransport {
      send(): void {}
      close(_error?: Error): void {}
    }
    const other = (module: string): Promise<Exports> =>
      module === 'nats'
        ? Promise.resolve({ setTransportFactory: missing, NatsConnectionImpl: { connect: missing } })
        : Promise.resolve({ NodeTransport, nodeResolveHost: missing });
    expect(await missing(other)).toEqual([
      'this version of the NATS client has no NodeTransport.send(frame) in nats/lib/node_transport: ' +
        'pin the one before, or write libs/bus/src/gathering-transport.ts anew',
    ]);
    expect(await missing(() => Promise.reject(new Error('Cannot find module')))).toHaveLength(PARTS.length);
  });
});
