export { partitionOwners } from './partition-owners';
export { ReplicaLeases, type Replica, type ReplicaLeasesOptions } from './replica-leases';
