import * as controllerOperations from './controller-operations';
import * as groupOperations from './group-operations';
import * as hostClassOperations from './host-class-operations';
import * as hostOperations from './host-operations';
import * as imageOperations from './image-operations';
import type { Operation } from './operation';
import * as operatorOperations from './operator-operations';
import * as sessions from './session';
import * as templateContent from './template-content';
import * as templateOperations from './template-operations';
import * as viewOperations from './view-operations';
import * as whatIfOperations from './what-if';

function operationsOf(module: Record<string, unknown>): Operation[] {
  return Object.values(module).filter(
    (value): value is Operation =>
      typeof value === 'object' && value !== null && 'subject' in value && 'summary' in value,
  );
}

/** What operators and their programs may send. */
export const OPERATOR_OPERATIONS: readonly Operation[] = [
  ...operationsOf(operatorOperations),
  ...operationsOf(groupOperations),
  ...operationsOf(imageOperations),
  ...operationsOf(whatIfOperations),
  ...operationsOf(templateOperations),
];
/** What controllers, placement and hosts send each other. */
export const INTERNAL_OPERATIONS: readonly Operation[] = [
  ...operationsOf(controllerOperations),
  ...operationsOf(hostOperations),
  ...operationsOf(hostClassOperations),
  ...operationsOf(sessions),
  ...operationsOf(templateContent),
  ...operationsOf(viewOperations),
];
