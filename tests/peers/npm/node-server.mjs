// Node's own HTTP server, with every default.
import { createServer } from 'node:http';

const server = createServer((request, response) => {
  if (request.url === '/stream') {
    let number = 0;
    const next = () => {
      if (number === 1000) response.end();
      else response.write(`${number++}\n`, next);
    };
    next();
    return;
  }
  let length = 0;
  request.on('data', (data) => (length += data.length));
  request.on('end', () => {
    const body = JSON.stringify({ length, headers: Object.keys(request.headers) });
    response.setHeader('content-length', body.length);
    response.end(body);
  });
});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
