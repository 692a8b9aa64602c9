// A webhook of Node's HTTP/2. Arguments: `plain`, or the files of a certificate and its key; and in how many milliseconds it
// ends each connection (GOAWAY), 0 for never. The first line of the output is the port; from then on it writes the number of
// each message that it has answered.
import { readFileSync } from 'node:fs';
import { createSecureServer, createServer } from 'node:http2';

const [certificate, key, life] = process.argv.slice(2);
const settings = { initialWindowSize: 16 * 1024, maxConcurrentStreams: 40 };
const server =
  certificate === 'plain'
    ? createServer({ settings })
    : createSecureServer({ settings, cert: readFileSync(certificate), key: readFileSync(key) });
server.on('session', (session) => {
  if (Number(life) > 0) setTimeout(() => session.close(), Number(life)).unref();
});
server.on('stream', async (stream, headers) => {
  stream.on('error', () => {});
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  if (body.length !== Number(headers['content-length'])) return stream.respond({ ':status': 400 }, { endStream: true });
  console.log(`${parseInt(body.toString('latin1', 0, 20), 10)} ${headers['broadcaster-attempt']}`);
  stream.respond({ ':status': 200, 'content-type': 'text/plain' });
  stream.end('ok');
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
