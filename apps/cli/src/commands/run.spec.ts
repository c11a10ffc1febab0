import { MicrovmSpec } from '#protocol';
import { ExitCode } from '../exit-code';
import { runVolley } from '../program';
import { json, scriptedApi, type ScriptedApi } from '../testing/scripted-api';

let api: ScriptedApi;
const run = async (...args: string[]): Promise<MicrovmSpec> => {
  await runVolley('--url', api.url, '--data', '/nowhere', 'run', ...args);
  return MicrovmSpec.parse(api.seen.at(-1)!.body);
};

beforeEach(async () => {
  jest.spyOn(process.stdout, 'write').mockReturnValue(true);
  api = await scriptedApi((_, response) => json(response, 202, { id: 'x', state: 'requested', timings: {} }));
});
afterEach(async () => {
  jest.restoreAllMocks();
  await api.close();
});

it('says nothing that it was not told', async () => {
  await run('canary');
  expect(api.seen[0]!.body).toEqual({ image: 'canary' });
});

it('runs another program, as somebody else, with disks, network and metadata', async () => {
  const spec = await run(
    ...['box:1', '--entrypoint', '', '-e', 'A=b=c', '-e', 'D=', '-u', 'app', '-w', '/srv', '--hostname', 'one'],
    ...[
      '--root-disk',
      '1G',
      '--disk',
      '64',
      '--disk',
      '2G:/data',
      '--allow',
      '10.1.0.0/16',
      '-p',
      '8080:80',
      '-p',
      '5353:53/udp',
    ],
    ...['--metadata', 'role=db', '--', 'sh', '-c', 'echo -n hi'],
  );
  expect(spec).toMatchObject({
    image: 'box:1',
    entrypoint: [],
    command: ['sh', '-c', 'echo -n hi'],
    env: { A: 'b=c', D: '' },
    user: 'app',
    workdir: '/srv',
    hostname: 'one',
    rootDiskMiB: 1_024,
    disks: [{ sizeMiB: 64 }, { sizeMiB: 2_048, mount: '/data' }],
    network: {
      egress: 'listed',
      allow: ['10.1.0.0/16'],
      forwards: [
        { protocol: 'tcp', hostPort: 8_080, guestPort: 80 },
        { protocol: 'udp', hostPort: 5_353, guestPort: 53 },
      ],
    },
    metadata: { role: 'db' },
  });
  expect((await run('box:1', '--network', 'none')).network).toBe('none');
});

it('has other disks than its template', async () => {
  const { disks } = await run('--template', 'warm', '--disk', '64', '--disk', '2G:ext4', '--disk', '1G:empty');
  const fresh = [
    { sizeMiB: 2_048, fresh: 'ext4' },
    { sizeMiB: 1_024, fresh: 'empty' },
  ];
  expect(disks).toEqual([{ sizeMiB: 64 }, ...fresh]);
});

it('has policies', async () => {
  const policies = ['--ttl', '2h', '--stop-timeout', '500ms', '--max-restarts', '3', '--protect'];
  const times = ['--start-at', '0 8 * * mon-fri', '--stop-at', '0 20 * * *'];
  expect(await run('canary', ...policies, ...times, '--idle-stop', '10m:2.5')).toMatchObject({
    ttlSeconds: 7_200,
    stopTimeoutSeconds: 1,
    maxRestarts: 3,
    deleteProtection: true,
    schedule: { start: '0 8 * * mon-fri', stop: '0 20 * * *' },
    idleStop: { afterSeconds: 600, cpuPercent: 2.5 },
  });
  expect(await run('canary', '--idle-stop', '90s')).toMatchObject({ idleStop: { afterSeconds: 90, cpuPercent: 1 } });
  for (const text of ['soon', '10m:', '10m:-1', '10m:1:2']) {
    await expect(run('canary', '--idle-stop', text)).rejects.toMatchObject({ code: 'commander.invalidArgument' });
  }
});

it('refuses what contradicts itself', async () => {
  for (const args of [
    ['--network', 'none', '-p', '1:1'],
    ['--network', 'open', '--allow', '10.0.0.1'],
  ]) {
    await expect(run('box:1', ...args)).rejects.toMatchObject({ exitCode: ExitCode.usage });
  }
  expect(api.seen).toEqual([]);
});
