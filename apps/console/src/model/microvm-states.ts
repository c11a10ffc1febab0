import type { HostStateName, MicrovmStateName } from '#protocol';

/** Drawn beside the word, so that states differ without colour too. */
export type Shape = 'disc' | 'ring' | 'bars' | 'square' | 'cross' | 'question' | 'arc' | 'dash' | 'lock';
/** Which colour of the palette. */
export type Tone = 'good' | 'busy' | 'rest' | 'idle' | 'bad' | 'doubt' | 'gone';

export interface StateLook {
  shape: Shape;
  tone: Tone;
  /** One sentence for people who meet the word for the first time. */
  meaning: string;
}

/** The states of a microVM in the order of a life. */
export const MICROVM_STATE_LOOKS: Readonly<Record<MicrovmStateName, StateLook>> = {
  requested: { shape: 'ring', tone: 'busy', meaning: 'Accepted; waits for its turn to be placed.' },
  placing: { shape: 'arc', tone: 'busy', meaning: 'A host is being chosen.' },
  starting: { shape: 'arc', tone: 'busy', meaning: 'Its host was told to start it.' },
  running: { shape: 'disc', tone: 'good', meaning: 'Its guest has booted and runs.' },
  pausing: { shape: 'arc', tone: 'rest', meaning: 'Its host was told to park its vCPUs.' },
  paused: { shape: 'bars', tone: 'rest', meaning: 'Its vCPUs are parked, its memory stays.' },
  resuming: { shape: 'arc', tone: 'rest', meaning: 'Its host was told to let its vCPUs go on.' },
  snapshotting: { shape: 'arc', tone: 'busy', meaning: 'Its host was told to take a snapshot of it as a template.' },
  suspending: { shape: 'arc', tone: 'rest', meaning: 'Its host was told to put its memory on the disk.' },
  suspended: {
    shape: 'square',
    tone: 'rest',
    meaning: 'Its memory and disks are on its host, its place there is for others.',
  },
  restoring: { shape: 'arc', tone: 'busy', meaning: 'Its host was told to let it go on from where it was suspended.' },
  moving: {
    shape: 'arc',
    tone: 'busy',
    meaning: 'A place on another host is kept for it; its host was told to end it, then it starts there.',
  },
  stopping: { shape: 'arc', tone: 'idle', meaning: 'Its host was told to end it.' },
  stopped: { shape: 'square', tone: 'idle', meaning: 'It ended in order; it can be started again.' },
  failed: {
    shape: 'cross',
    tone: 'bad',
    meaning: 'It ended, or never began, for a bad reason; it can be started again.',
  },
  unreachable: { shape: 'question', tone: 'doubt', meaning: 'Its host does not answer; it may well be running there.' },
  deleting: { shape: 'arc', tone: 'gone', meaning: 'Its host was told to remove all of it.' },
  deleted: { shape: 'dash', tone: 'gone', meaning: 'Gone for good; its history stays.' },
};

export const MICROVM_STATE_NAMES = Object.keys(MICROVM_STATE_LOOKS) as MicrovmStateName[];

/** Place of a state in a sorted list: what needs eyes first. */
export const ATTENTION: Readonly<Record<MicrovmStateName, number>> = {
  failed: 0,
  unreachable: 1,
  requested: 2,
  placing: 3,
  starting: 4,
  moving: 5,
  stopping: 6,
  deleting: 7,
  restoring: 8,
  snapshotting: 9,
  suspending: 10,
  pausing: 11,
  resuming: 12,
  paused: 13,
  suspended: 14,
  running: 15,
  stopped: 16,
  deleted: 17,
};

export const HOST_STATE_LOOKS: Readonly<Record<HostStateName, StateLook>> = {
  joining: { shape: 'arc', tone: 'busy', meaning: 'Registered; not yet compared with the histories.' },
  ready: { shape: 'disc', tone: 'good', meaning: 'Takes new microVMs.' },
  cordoned: { shape: 'lock', tone: 'rest', meaning: 'Keeps its microVMs, takes no new ones.' },
  draining: {
    shape: 'arc',
    tone: 'busy',
    meaning: 'Takes no new microVMs; those there are moved, stopped or waited for.',
  },
  drained: {
    shape: 'square',
    tone: 'idle',
    meaning: 'Nothing runs there and nothing new comes, until the drain is cancelled.',
  },
  unreachable: { shape: 'question', tone: 'doubt', meaning: 'Its lease has ended.' },
  lost: {
    shape: 'cross',
    tone: 'bad',
    meaning: 'Unreachable for so long that nobody counts on it; it may still return.',
  },
  retired: { shape: 'dash', tone: 'gone', meaning: 'Declared gone by an operator; its agent has to register anew.' },
};
export const HOST_STATE_NAMES = Object.keys(HOST_STATE_LOOKS) as HostStateName[];

/** The look of a state this page was built without, for a gateway newer than it. */
export const UNKNOWN_LOOK: StateLook = { shape: 'question', tone: 'doubt', meaning: 'Not known to this page.' };
