export type { GivenSocket } from './bind.js';
export type { Exit } from './member.js';
export type { Picked, SuperviseOptions } from './options.js';
export { supervise, Supervisor, type SupervisorEvents, type WorkerState } from './supervisor.js';
export { worker, Worker, type ServeOptions } from './worker.js';
