import Koa from 'koa';
import { WebSocketServer } from 'ws';
import { count, digest, listens, slowBody, where } from './work.cjs';

const app = new Koa();
app.use(async (context) => {
  if (context.path === '/download') context.body = slowBody();
  else if (context.path === '/upload') context.body = await digest(context.req);
  else context.body = String(process.pid);
});
const server = app.listen(where, listens);
new WebSocketServer({ server, perMessageDeflate: false }).on('connection', count);
