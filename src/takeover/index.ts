export type { Carrier } from './live/index.js';
export type { LiveOptions, TakeoverOptions } from './options.js';
export type { OtherProcess, Serving, ServingEvents, ServingState } from './serving.js';
export type { UpgradeOptions } from './upgrade.js';
export { takeover } from './takeover.js';
export { TakeoverError } from '../errors.js';
