import { onAbort } from './on-abort';

describe('what is to be done when a signal fires', () => {
  it('is done once, when it fires', () => {
    const abort = new AbortController();
    let acts = 0;
    onAbort(abort.signal, () => acts++);
    expect(acts).toBe(0);
    abort.abort();
    expect(acts).toBe(1);
  });

  it('is done at once when it has fired before', () => {
    let acts = 0;
    onAbort(AbortSignal.abort(), () => acts++)();
    expect(acts).toBe(1);
  });

  it('is not done once nobody wants it any more', () => {
    const abort = new AbortController();
    let acts = 0;
    onAbort(abort.signal, () => acts++)();
    abort.abort();
    expect(acts).toBe(0);
  });
});
