import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { outputTo, type Output } from '../output/output';
import { closeConnections } from '../rest/http-exchange';
import { RestClient } from '../rest/rest-client';

export interface SeenRequest {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage['headers'];
  body: unknown;
}

export interface ScriptedApi {
  readonly url: string;
  readonly client: RestClient;
  readonly seen: SeenRequest[];
  close(): Promise<void>;
}

type Answer = (request: SeenRequest, response: ServerResponse) => void;

/** A REST API that answers as a test says, over real connections. */
export async function scriptedApi(answer: Answer): Promise<ScriptedApi> {
  const seen: SeenRequest[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const content = Buffer.concat(chunks);
      const isFile = request.headers['content-type'] === 'application/octet-stream';
      const url = new URL(request.url!, 'http://x');
      const one: SeenRequest = {
        method: request.method!,
        path: url.pathname,
        query: url.searchParams,
        headers: request.headers,
        body: isFile ? content : content.length === 0 ? undefined : JSON.parse(content.toString()),
      };
      seen.push(one);
      answer(one, response);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  return {
    url,
    seen,
    client: new RestClient({ url, token: () => 'secret' }),
    async close() {
      closeConnections();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

export function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** An output that keeps what is written. */
export function keptOutput(asJson = false): { out: Output; text: () => string; notes: () => string } {
  const [written, noted]: string[][] = [[], []];
  const into = (lines: string[] | undefined) =>
    ({ write: (text: string) => lines!.push(text) }) as unknown as NodeJS.WritableStream;
  return {
    out: outputTo(into(written), into(noted), asJson),
    text: () => written!.join(''),
    notes: () => noted!.join(''),
  };
}
