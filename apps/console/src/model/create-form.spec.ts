import { MicrovmSpec } from '../../../../libs/protocol/src';
import { EMPTY_FORM, fieldErrors, readForm, readLabels } from './create-form';

describe('the create form', () => {
  it('sends what was typed and leaves defaults to the gateway', () => {
    expect(readForm(EMPTY_FORM).spec).toEqual({ image: 'canary', vcpus: 1, memoryMiB: 32 });
    const { spec } = readForm({
      ...EMPTY_FORM,
      name: ' web-1 ',
      cmdline: 'idle now',
      labels: 'app=shop, tier=front\nurl=a=b',
      tenant: 'acme',
      restartPolicy: 'always',
      onHostLoss: 'reschedule',
      ttlSeconds: '60',
    });
    expect(spec).toEqual({
      image: 'canary',
      vcpus: 1,
      memoryMiB: 32,
      name: 'web-1',
      cmdline: 'idle now',
      labels: { app: 'shop', tier: 'front', url: 'a=b' },
      tenant: 'acme',
      restartPolicy: 'always',
      onHostLoss: 'reschedule',
      ttlSeconds: 60,
    });
    expect(MicrovmSpec.safeParse(spec).success).toBe(true);
  });

  it('names every field that cannot be sent', () => {
    const { errors } = readForm({
      ...EMPTY_FORM,
      image: '',
      vcpus: 'two',
      memoryMiB: '-1',
      labels: 'nope',
      ttlSeconds: '1.5',
    });
    expect(Object.keys(errors!).sort()).toEqual(['image', 'labels', 'memoryMiB', 'ttlSeconds', 'vcpus']);
  });

  it('reads labels strictly', () => {
    expect(readLabels('')).toEqual({});
    expect(readLabels('a=')).toEqual({ a: '' });
    expect(readLabels('a=1,a=2')).toMatch('twice');
    expect(readLabels('=1')).toMatch('key=value');
    expect(readLabels('__proto__=1')).toEqual(Object.fromEntries([]));
  });

  it('puts complaints beside their fields', () => {
    expect(
      fieldErrors([
        { path: 'memoryMiB', message: 'too much' },
        { path: 'spec.labels.a', message: 'too long' },
        { path: 'colour', message: 'unknown' },
        { path: '', message: 'odd' },
      ]),
    ).toEqual({ errors: { memoryMiB: 'too much', labels: 'too long' }, rest: ['colour: unknown', 'odd'] });
  });
});
