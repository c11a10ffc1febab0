import { ReconnectDelay } from './reconnect-delay';

describe('the delay between two attempts to connect', () => {
  let wall = 1_000_000;
  let monotonic = 0;
  const pass = (ms: number): void => {
    wall += ms;
    monotonic += ms;
  };
  const make = (servers = 1): ReconnectDelay =>
    new ReconnectDelay(
      servers,
      () => wall,
      () => monotonic,
    );

  it('is short, and never nothing, while the clock goes on as it should', () => {
    const delay = make();
    for (let i = 0; i < 50; i++) {
      pass(3_600_000);
      expect(delay.next()).toBeGreaterThanOrEqual(150);
      expect(delay.next()).toBeLessThanOrEqual(200);
    }
  });

  it('makes good for a clock that was put back, once for each server', () => {
    const delay = make(3);
    delay.next();
    const lastAttempt = wall;
    pass(1_000);
    wall -= 600_000;
    for (let server = 0; server < 3; server++) expect(lastAttempt + delay.next()).toBeLessThanOrEqual(wall);
    expect(delay.next()).toBeGreaterThanOrEqual(150);
  });

  it('is not touched by a clock that was put forward', () => {
    const delay = make();
    delay.next();
    wall += 600_000;
    expect(delay.next()).toBeGreaterThanOrEqual(150);
  });
});
