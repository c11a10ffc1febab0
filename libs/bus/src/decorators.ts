import { applyDecorators, Catch, UseFilters, type ExceptionFilter } from '@nestjs/common';
import { Ctx, EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { throwError, type Observable } from 'rxjs';
import type { z } from 'zod';
import type { Operation } from '#protocol';
import type { BusContext } from './bus-context';

/** What {@link FleetBus} finds with a handler: how to subscribe, and what the messages look like. */
export interface HandlerExtras {
  readonly volley: { readonly operation: Operation } | { readonly listen: ListenOptions };
}

export interface ListenOptions {
  /** Queue group: one of the listeners gets each message. Absent: all do. */
  queue?: string;
  /** A message that does not fit is logged and dropped. Absent: any JSON is handed over. */
  schema?: z.ZodType;
}

/** Returned by a handler of an operation that every replica hears, when the answer is another one's to give. */
export const UNANSWERED = Symbol('volley.unanswered');

type Answer<O extends Operation> = z.input<O['reply']> | typeof UNANSWERED;
type Handler<O extends Operation> = (
  request: z.output<O['request']>,
  context: BusContext,
) => Answer<O> | Promise<Answer<O>>;

/**
 * Makes a controller's method answer an operation. It gets the validated request and a {@link BusContext}, and returns the
 * reply. An OperationError that it throws becomes the error reply; any other exception is logged and answered `internal`.
 */
export function Handles<O extends Operation>(operation: O) {
  const extras: HandlerExtras = { volley: { operation } };
  return <T extends Handler<O>>(target: object, key: string, descriptor: TypedPropertyDescriptor<T>): void => {
    decorate(MessagePattern(operation.subject, { ...extras }), target, key, descriptor);
  };
}

/** Makes a controller's method hear every message on a subject (wildcards allowed, `{hostId}` filled in). Nothing is answered. */
export function Listens(subject: string, options: ListenOptions = {}) {
  const extras: HandlerExtras = { volley: { listen: options } };
  return <T extends (message: never, context: BusContext) => unknown>(
    target: object,
    key: string,
    descriptor: TypedPropertyDescriptor<T>,
  ): void => {
    decorate(EventPattern(subject, { ...extras }), target, key, descriptor);
  };
}

function decorate(pattern: MethodDecorator, target: object, key: string, descriptor: PropertyDescriptor): void {
  // Without these Nest passes the message alone.
  Payload()(target, key, 0);
  Ctx()(target, key, 1);
  applyDecorators(pattern, UseFilters(new PassThroughFilter()))(target, key, descriptor);
}

/** Nest's own filter turns every exception into "Internal server error" before a transport sees it; ours must see the real one. */
@Catch()
class PassThroughFilter implements ExceptionFilter {
  catch(exception: unknown): Observable<never> {
    return throwError(() => exception);
  }
}
