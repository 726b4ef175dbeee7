import fastify from 'fastify';

const app = fastify();
app.get('/', () => `pid ${process.pid}`);
await app.listen({ port: Number(process.env.PORT) });
