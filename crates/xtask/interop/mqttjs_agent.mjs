// Drives one MQTT.js client: commands on standard input, events on standard output.
//
// Both are JSON objects, one a line; `src/interop/peer/agent.rs` writes and reads them.
// The end of standard input means: disconnect in order and end.

import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

// The library is installed beside the project, not beside this file.
const mqtt = createRequire(join(process.env.INTEROP_NODE, 'package.json'))('mqtt');

const LARGE = 64 * 1024;

// Without and with TLS.
const PROTOCOLS = { tcp: ['mqtt', 'mqtts'], websockets: ['ws', 'wss'] };

let client;
let level;
let leaving = false;
let disconnectCode = null;

function emit(event) {
  process.stdout.write(JSON.stringify(event) + '\n');
}

function fail(what) {
  emit({ event: 'failed', what: String(what) });
}

function payloadOf(message) {
  return message.payload_file
    ? readFileSync(message.payload_file)
    : Buffer.from(message.payload, 'hex');
}

function propertiesOf(message) {
  const wanted = message.properties;
  const properties = {};
  if (wanted.user.length > 0) {
    properties.userProperties = {};
    for (const [name, value] of wanted.user) {
      (properties.userProperties[name] ??= []).push(value);
    }
  }
  if (wanted.content_type !== null) properties.contentType = wanted.content_type;
  if (wanted.response_topic !== null) properties.responseTopic = wanted.response_topic;
  if (wanted.correlation_data !== null) {
    properties.correlationData = Buffer.from(wanted.correlation_data);
  }
  if (wanted.topic_alias !== null) properties.topicAlias = wanted.topic_alias;
  return properties;
}

function reported(properties) {
  const user = Object.entries(properties.userProperties ?? {}).flatMap(([name, values]) =>
    [values].flat().map((value) => [name, value]),
  );
  return {
    user,
    content_type: properties.contentType ?? null,
    response_topic: properties.responseTopic ?? null,
    correlation_data: properties.correlationData?.toString() ?? null,
  };
}

const handlers = {
  connect(order) {
    level = order.level;
    const options = {
      host: order.host,
      port: order.port,
      protocol: PROTOCOLS[order.transport][order.cafile === null ? 0 : 1],
      path: '/mqtt',
      protocolVersion: level,
      protocolId: level === 3 ? 'MQIsdp' : 'MQTT',
      clientId: order.client_id,
      clean: order.clean,
      reconnectPeriod: 0,
    };
    if (order.cafile !== null) {
      options.ca = readFileSync(order.cafile);
      if (order.cert !== null) {
        options.cert = readFileSync(order.cert);
        options.key = readFileSync(order.key);
      }
      if (order.alpn.length > 0) options.ALPNProtocols = order.alpn;
      // The options of `ws` are apart.
      if (order.transport === 'websockets') options.wsOptions = { ca: options.ca };
    }
    if (level === 5) {
      options.properties = {};
      if (!order.clean) options.properties.sessionExpiryInterval = 3600;
      if (order.topic_alias_maximum !== null) {
        options.properties.topicAliasMaximum = order.topic_alias_maximum;
      }
    }
    if (order.will !== null) {
      const { topic, qos, retain } = order.will;
      options.will = { topic, qos, retain, payload: payloadOf(order.will) };
      if (level === 5) options.will.properties = propertiesOf(order.will);
    }
    client = mqtt.connect(options);
    client.on('connect', (packet) => {
      emit({ event: 'connected', session_present: level === 3 ? null : packet.sessionPresent });
    });
    client.on('message', onMessage);
    client.on('disconnect', (packet) => {
      disconnectCode = packet.reasonCode ?? 0;
    });
    client.on('close', () => {
      if (!leaving) emit({ event: 'closed', code: disconnectCode });
    });
    client.on('error', fail);
  },

  subscribe(order) {
    client.subscribe(order.filters, { qos: order.qos }, (error, granted) => {
      if (error) fail(error);
      else emit({ event: 'subscribed', codes: granted.map(({ qos }) => qos) });
    });
  },

  publish(order) {
    const options = { qos: order.qos, retain: order.retain };
    if (level === 5) options.properties = propertiesOf(order);
    client.publish(order.topic, payloadOf(order), options, (error) => {
      if (error) fail(error);
      else emit({ event: 'published' });
    });
  },
};

function onMessage(topic, payload, packet) {
  const event = { event: 'message', topic, qos: packet.qos, retain: packet.retain };
  if (payload.length > LARGE) {
    event.payload_file = join(process.cwd(), randomUUID());
    writeFileSync(event.payload_file, payload);
  } else {
    event.payload = payload.toString('hex');
  }
  if (packet.properties) event.properties = reported(packet.properties);
  emit(event);
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  try {
    handlers[order.do](order);
  } catch (error) {
    fail(`${order.do}: ${error}`);
  }
}

leaving = true;
if (client) client.end(false);
