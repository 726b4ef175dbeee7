import express from 'express';

const app = express();
app.get('/', (_, response) => response.send(`pid ${process.pid}`));
app.listen(Number(process.env.PORT));
