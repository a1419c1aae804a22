// Connects many MQTT.js clients to one broker from one process and passes a message around.
//
// Arguments: host, port, number of clients. Client i subscribes to swarm/i and publishes to
// swarm/(i+1) once all are subscribed. Prints `ok` when every client has received exactly the
// message meant for it, and fails otherwise.

import { createRequire } from 'node:module';
import { join } from 'node:path';

const mqtt = createRequire(join(process.env.INTEROP_NODE, 'package.json'))('mqtt');

const PATIENCE_MS = 60_000;

const [host, port, count] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const received = new Array(count).fill(null);
const unexpected = [];

function joinSwarm(index) {
  return new Promise((resolve, reject) => {
    const client = mqtt.connect({
      host,
      port,
      clientId: `swarm${index}`,
      protocolVersion: index % 2 === 0 ? 5 : 4,
      reconnectPeriod: 0,
      connectTimeout: PATIENCE_MS,
    });
    client.on('error', reject);
    client.on('message', (topic, payload) => {
      if (topic !== `swarm/${index}` || received[index] !== null) unexpected.push([index, topic]);
      received[index] = payload.toString();
    });
    client.on('connect', () => {
      client.subscribe(`swarm/${index}`, { qos: 1 }, (error) => {
        if (error) reject(error);
        else resolve(client);
      });
    });
  });
}

const timer = setTimeout(() => {
  console.error(`gave up: ${received.filter((text) => text !== null).length} of ${count} messages`);
  process.exit(1);
}, PATIENCE_MS);

const clients = await Promise.all([...Array(count).keys()].map(joinSwarm));
await Promise.all(
  clients.map((client, index) =>
    client.publishAsync(`swarm/${(index + 1) % count}`, `from ${index}`, { qos: 1 }),
  ),
);
while (received.some((text) => text === null)) {
  await new Promise((resolve) => setTimeout(resolve, 10));
}
for (const [index, text] of received.entries()) {
  const expected = `from ${(index + count - 1) % count}`;
  if (text !== expected) unexpected.push([index, text]);
}
await Promise.all(clients.map((client) => client.endAsync()));
clearTimeout(timer);
if (unexpected.length > 0) {
  console.error('unexpected:', unexpected);
  process.exit(1);
}
console.log('ok');
