// A token server, which is oidc-provider, and beside it a webhook that takes what this server says is good. Arguments: the
// port (0 for any), and how long a token lives, in seconds. The first line of the output is the port.
import { createServer } from 'node:http';

const { Provider } = await import(process.env.OIDC_PROVIDER);
const [port, seconds] = process.argv.slice(2).map(Number);

const client = (client_id, token_endpoint_auth_method) => ({
  client_id,
  client_secret: 's3cret: of & client',
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  token_endpoint_auth_method,
});
const provider = new Provider('http://127.0.0.1', {
  clients: [client('by header', 'client_secret_basic'), client('by body', 'client_secret_post')],
  features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
  scopes: ['hooks:write'],
  ttl: { ClientCredentials: seconds },
});

const state = { fetches: 0, atOnce: 0, mostAtOnce: 0, statuses: [], unauthorized: 0, delivered: [], tokens: [], scopes: [] };
const revoked = new Set();
let refusing = false;
let delay = 0;

async function hook(request, response) {
  const token = (request.headers.authorization ?? '').replace(/^Bearer /, '');
  for await (const _ of request);
  const found = await provider.ClientCredentials.find(token);
  const good = found !== undefined && !found.isExpired && !revoked.has(token) && !refusing;
  if (!state.tokens.includes(token)) state.tokens.push(token);
  if (good) {
    state.delivered.push(request.headers['webhook-id']);
    if (!state.scopes.includes(found.scope ?? '')) state.scopes.push(found.scope ?? '');
  } else state.unauthorized += 1;
  response.writeHead(good ? 204 : 401).end();
}

async function token(request, response) {
  state.fetches += 1;
  state.atOnce += 1;
  state.mostAtOnce = Math.max(state.mostAtOnce, state.atOnce);
  response.on('close', () => {
    state.atOnce -= 1;
    state.statuses.push(response.statusCode);
  });
  if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay));
  provider.callback()(request, response);
}

const control = {
  state: () => {},
  refuse: () => (refusing = true),
  revoke: () => state.tokens.forEach((token) => revoked.add(token)),
  delay: (value) => (delay = Number(value)),
};

const server = createServer((request, response) => {
  const [, place, action, value] = request.url.split('/');
  if (place === 'hook') return void hook(request, response);
  if (place === 'token') return void token(request, response);
  control[action]?.(value);
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(state));
});
server.listen(port, '127.0.0.1', () => console.log(server.address().port));
