/** A worker that is never ready. */
import { worker } from 'fdpasser/workers';

worker();
