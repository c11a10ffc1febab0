import type { SupervisorState } from '../supervisor/supervisor-state';
import { hopelessProcess } from './hopeless-process';

const process = (name: string, shortLives: number) => ({
  name,
  pid: null,
  startedAt: null,
  restarts: shortLives,
  shortLives,
  lastExit: 'exited with code 1',
});
const state = (phase: SupervisorState['phase'], shortLives: number): SupervisorState => ({
  supervisor: { pid: 7, startTicks: '1', bootId: 'b' },
  phase,
  since: 0,
  url: '',
  processes: [process('nats-server', 0), process('volley-hostd', shortLives)],
});

it('names a process that ends again and again', () => {
  expect(hopelessProcess(state('starting', 5), 7)?.name).toBe('volley-hostd');
  expect(hopelessProcess(state('up', 9))?.name).toBe('volley-hostd');
  expect(hopelessProcess(state('starting', 4), 7)).toBeUndefined();
});

it('takes no word of a supervisor that has ended', () => {
  expect(hopelessProcess(state('down', 9))).toBeUndefined();
  expect(hopelessProcess(state('up', 9), 8)).toBeUndefined();
  expect(hopelessProcess(undefined, 7)).toBeUndefined();
});
