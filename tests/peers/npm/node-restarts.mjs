// Node's own HTTP server, which notes every request that arrives and ends when it is told to.
import { appendFileSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const note = (...words) => appendFileSync(process.env.ARRIVED, `${words.join(' ')} ${process.pid}\n`);
const seen = (path) => readFileSync(process.env.ARRIVED, 'utf8').split(` ${path} `).length - 1;

let ending = false;
const server = createServer((request, response) => {
  // Node goes on answering over connections that are in use, and ends with the last.
  if (ending) response.setHeader('connection', 'close');
  const path = request.url;
  note(request.method, path);
  if (path.startsWith('/silent/') || (path.startsWith('/once/') && seen(path) === 1)) return;
  if (path.startsWith('/partly/')) {
    if (path.includes('length')) response.setHeader('content-length', 200000);
    response.write('x'.repeat(100000), () => note('BEGUN', path));
    return;
  }
  setTimeout(() => {
    response.setHeader('content-length', path.length);
    response.end(path);
  }, 3);
});
// Finishes what was begun, and closes what is idle.
process.on('SIGTERM', () => {
  ending = true;
  server.close();
});
server.listen(Number(process.argv[2]), '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
