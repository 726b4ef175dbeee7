import { createSecureServer } from 'node:http2';
import { answer, listens, where } from './work.cjs';

createSecureServer({ key: process.env.KEY, cert: process.env.CERT }, answer).listen(where, listens);
