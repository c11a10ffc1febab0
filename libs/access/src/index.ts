export { BROADCASTS, CONVERSATIONS, type Broadcast, type Conversation } from './conversations';
export {
  inboxOf,
  kindOf,
  nameOf,
  PARTIES,
  partyNamed,
  SERVICES,
  type Party,
  type PartyKind,
  type Service,
} from './party';
export { permissionsOf, type Permissions } from './permissions';
export { STORES, type Store } from './stores';
export { usersConfig, type User } from './users-config';
