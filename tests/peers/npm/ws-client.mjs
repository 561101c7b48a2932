// Ten thousand messages over HTTP/1.1, one after the other.
import { readFileSync } from 'node:fs';
import WebSocket from 'ws';

const [url, token, ca] = process.argv.slice(2);
const options = { headers: { authorization: `Bearer ${token}` } };
if (ca) options.ca = readFileSync(ca);
const socket = new WebSocket(url, options);
const message = (number) => String(number).repeat(1 + (number % 50));
let number = 0;
socket.on('open', () => socket.send(message(0)));
socket.on('message', (data) => {
  if (data.toString() !== message(number)) throw new Error(`${number}: ${data}`);
  number += 1;
  if (number === 10000) socket.close(1000);
  else socket.send(message(number));
});
socket.on('close', (code) => console.log(`${number} echoed, closed with ${code}`));
