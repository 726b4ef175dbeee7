import { FdPasser, listen } from 'fdpasser';
import { pathFor } from '../support.js';

globalThis.kept = [FdPasser.inherit(), listen(pathFor('socket'))];
console.log('idle');
