import { MicrovmSpec, OperationError, type ImageManifest, type MicrovmSpecInput } from '#protocol';
import { pinImage, type ImportedImages } from './pin-image';

const digest = (digit: string): string => `sha256:${digit.repeat(64)}`;
const blob = { digest: digest('0'), bytes: 1 };
const kernel: ImageManifest & { kind: 'kernel' } = {
  schema: 1,
  kind: 'kernel',
  architecture: 'amd64',
  release: '6.1.0',
  vmlinux: blob,
  initrd: blob,
  modules: [],
};
const linux: ImageManifest = {
  schema: 1,
  kind: 'linux',
  architecture: 'amd64',
  kernel,
  root: { type: 'squashfs', blob },
  run: { entrypoint: [], command: [], env: [], user: '', workdir: '' },
  minMemoryMiB: 112,
};
const images: ImportedImages = {
  names: () => ['alpine:3.20'],
  named: (name) =>
    Promise.resolve(
      {
        'alpine:3.20': { digest: digest('a'), manifest: linux },
        'debian-kernel': { digest: digest('b'), manifest: kernel },
      }[name],
    ),
  withDigest: (one) => Promise.resolve(one === digest('c') ? linux : undefined),
};
const pin = async (spec: MicrovmSpecInput): Promise<MicrovmSpec> => pinImage(MicrovmSpec.parse(spec), images);
const refusal = (spec: MicrovmSpecInput): Promise<OperationError> =>
  pin(spec).then(
    () => Promise.reject(new Error('not refused')),
    (error: OperationError) => error,
  );

it('pins what a name stands for now', async () => {
  expect((await pin({ image: 'alpine:3.20' })).image).toBe(`alpine:3.20@${digest('a')}`);
  expect((await pin({ image: `alpine:3.20@${digest('a')}` })).image).toBe(`alpine:3.20@${digest('a')}`);
});

it('takes content that the name does not stand for any more, as long as it is there', async () => {
  expect((await pin({ image: `alpine:3.20@${digest('c')}` })).image).toBe(`alpine:3.20@${digest('c')}`);
  expect(await refusal({ image: `alpine:3.20@${digest('d')}` })).toMatchObject({
    code: 'invalid',
    message: `there is no image with the digest ${digest('d')}; alpine:3.20 is ${digest('a')} now`,
  });
});

it('leaves a built-in image as it is', async () => {
  expect((await pin({ image: 'canary' })).image).toBe('canary');
});

it.each<[string, MicrovmSpecInput, string, RegExp]>([
  ['a name that stands for nothing', { image: 'nginx' }, 'image', /there are: canary, alpine:3\.20$/],
  ['a name that is none', { image: 'No Such' }, 'image', /NAME:TAG/],
  ['a digest that is none', { image: 'alpine:3.20@sha256:1' }, 'image', /sha256:DIGEST/],
  ['a kernel', { image: 'debian-kernel' }, 'image', /cannot be run by itself/],
  ['too little memory', { image: 'alpine:3.20', memoryMiB: 64 }, 'memoryMiB', /at least 112/],
  ['too many vCPUs for a canary', { image: 'canary', vcpus: 2 }, 'vcpus', /at most 1/],
  ['too little memory for a canary', { image: 'canary', memoryMiB: 2 }, 'memoryMiB', /at least 4/],
  ['a program for a canary', { image: 'canary', entrypoint: ['/bin/sh'] }, 'entrypoint', /no Linux/],
  ['an environment for a canary', { image: 'canary', env: { A: 'b' } }, 'env', /no Linux/],
  ['a mount for a canary', { image: 'canary', disks: [{ sizeMiB: 1, mount: '/data' }] }, 'disks.0.mount', /no Linux/],
])('refuses %s', async (_, spec, path, message) => {
  const error = await refusal(spec);
  expect(error).toMatchObject({ code: 'invalid', message: expect.stringMatching(message) });
  expect(error.details).toEqual([{ path, message: expect.any(String) }]);
});

it('gives a canary disks, devices and metadata', async () => {
  const spec = { image: 'canary', disks: [{ sizeMiB: 1 }], vsock: true, metadata: { a: 'b' } };
  expect(await pin(spec)).toMatchObject(spec);
});
