import { Controller, Inject } from '@nestjs/common';
import type { z } from 'zod';
import { Handles, UNANSWERED } from '#bus';
import { announceView, readView, ViewKind } from '#protocol';
import { digestOf, type LiveView } from './live-view';

/** Injects what {@link ViewController} tells of: a {@link NamedView}. */
export const NAMED_VIEW = Symbol('volley.named-view');

export interface NamedView {
  /** No two processes of a fleet share it. */
  readonly instance: string;
  readonly service: string;
  readonly view: LiveView;
}

/** Tells auditors what this process has folded, so that it can be compared with the histories. */
@Controller()
export class ViewController {
  constructor(@Inject(NAMED_VIEW) private readonly named: NamedView) {}

  @Handles(announceView)
  announce(): z.output<typeof announceView.reply> {
    const { instance, service } = this.named;
    return { instance, service, kinds: [...ViewKind.options] };
  }

  /** One page, all of the same moment. */
  @Handles(readView)
  read({ instance, kind, cursor, limit }: z.output<typeof readView.request>) {
    if (instance !== this.named.instance) return UNANSWERED;
    const { view } = this.named;
    const entries: z.output<typeof readView.reply>['entries'] = [];
    let more = false;
    for (const life of view.livesAfter(kind, cursor)) {
      if ((more = entries.length === limit)) break;
      entries.push({ id: life.id, revision: life.revision, digest: digestOf(life) });
    }
    return { position: view.positionOf(kind), entries, nextCursor: more ? entries.at(-1)!.id : null };
  }
}
