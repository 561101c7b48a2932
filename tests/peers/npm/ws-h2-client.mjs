// Ten thousand messages over a stream of HTTP/2 (RFC 8441), framed by hand.
import { readFileSync } from 'node:fs';
import { connect } from 'node:http2';
import { randomBytes } from 'node:crypto';

const [url, path, token, ca] = process.argv.slice(2);
const session = connect(url, { ca: readFileSync(ca) });

function frame(opcode, payload) {
  const mask = randomBytes(4);
  const short = payload.length < 126;
  const head = Buffer.from([0x80 | opcode, 0x80 | (short ? payload.length : 126)]);
  const long = Buffer.alloc(2);
  long.writeUInt16BE(short ? 0 : payload.length);
  const masked = Buffer.from(payload.map((byte, at) => byte ^ mask[at % 4]));
  return Buffer.concat(short ? [head, mask, masked] : [head, long, mask, masked]);
}

const message = (number) => String(number).repeat(1 + (number % 50));

session.on('remoteSettings', (settings) => {
  if (!settings.enableConnectProtocol) throw new Error('no extended CONNECT');
  const stream = session.request({
    ':method': 'CONNECT',
    ':protocol': 'websocket',
    ':path': path,
    'sec-websocket-version': '13',
    authorization: `Bearer ${token}`,
  });
  let number = 0;
  let code = null;
  let input = Buffer.alloc(0);
  const send = () => stream.write(frame(1, Buffer.from(message(number))));
  stream.on('response', (headers) => {
    if (headers[':status'] !== 200) throw new Error(`status ${headers[':status']}`);
    send();
  });
  stream.on('data', (data) => {
    input = Buffer.concat([input, data]);
    for (;;) {
      if (input.length < 2) return;
      const long = input[1] === 126;
      const begin = long ? 4 : 2;
      if (input.length < begin) return;
      const length = long ? input.readUInt16BE(2) : input[1];
      if (input.length < begin + length) return;
      const payload = input.subarray(begin, begin + length);
      const opcode = input[0] & 15;
      input = input.subarray(begin + length);
      if (opcode === 8) {
        code = payload.readUInt16BE(0);
        stream.end();
      } else {
        if (payload.toString() !== message(number)) throw new Error(`${number}: ${payload}`);
        number += 1;
        if (number === 10000) stream.write(frame(8, Buffer.from([0x03, 0xe8])));
        else send();
      }
    }
  });
  stream.on('close', () => {
    console.log(`${number} echoed, closed with ${code}`);
    session.close();
  });
});
