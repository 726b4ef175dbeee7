const { fastify } = require('fastify');
const { WebSocketServer } = require('ws');
const { count, digest, listens, slowBody, where } = require('./work.cjs');

const app = fastify();
app.addContentTypeParser('*', (_, body, done) => done(null, body));
app.get('/', async () => String(process.pid));
app.get('/download', (_, reply) => reply.send(slowBody()));
app.post('/upload', (request) => digest(request.body));

new WebSocketServer({ server: app.server, perMessageDeflate: false }).on('connection', count);
void app.listen(where).then(listens);
