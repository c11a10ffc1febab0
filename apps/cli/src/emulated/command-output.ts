import { MIRROR_READY, SCRIPT_ENDED } from '#emulated-host';

/** Finds what a command printed in what the console of its host printed: not how that booted, not how it ended. */
export class CommandOutput {
  private rest = '';
  private state: 'booting' | 'running' | 'ended' = 'booting';

  /** Takes the next piece of the console; gives the whole lines of the command that are complete with it. */
  take(text: string): string {
    if (this.state === 'ended') return '';
    this.rest += text;
    if (this.state === 'booting') {
      const ready = MIRROR_READY.exec(this.rest);
      if (ready === null) return '';
      this.rest = this.rest.slice(ready.index + ready[0].length);
      this.state = 'running';
    }
    const end = SCRIPT_ENDED.exec(this.rest);
    if (end !== null) {
      this.state = 'ended';
      // The line break before it is not the command's.
      return this.rest.slice(0, end.index).replace(/\r?\n$/, '');
    }
    // The last line may be the beginning of that; the line break before it, too.
    const whole = this.rest.lastIndexOf('\n', this.rest.length - 2) + 1;
    const lines = this.rest.slice(0, whole).replace(/\r?\n$/, '');
    this.rest = this.rest.slice(lines.length);
    return lines;
  }
}
