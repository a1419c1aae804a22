"""Drives one paho-mqtt client: commands on standard input, events on standard output.

Both are JSON objects, one a line; `src/interop/peer/agent.rs` writes and reads them.
The end of standard input means: disconnect in order and end.
"""

import json
import os
import ssl
import sys
import tempfile
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

LARGE = 64 * 1024
PATIENCE = 90

output_lock = threading.Lock()


def emit(**event):
    line = json.dumps(event)
    with output_lock:
        print(line, flush=True)


def fail(what):
    emit(event="failed", what=str(what))


def payload_of(message):
    if "payload_file" in message:
        with open(message["payload_file"], "rb") as file:
            return file.read()
    return bytes.fromhex(message["payload"])


def properties_of(packet_type, message):
    wanted = message["properties"]
    properties = Properties(packet_type)
    if wanted["user"]:
        properties.UserProperty = [tuple(pair) for pair in wanted["user"]]
    if wanted["content_type"] is not None:
        properties.ContentType = wanted["content_type"]
    if wanted["response_topic"] is not None:
        properties.ResponseTopic = wanted["response_topic"]
    if wanted["correlation_data"] is not None:
        properties.CorrelationData = wanted["correlation_data"].encode()
    if wanted["topic_alias"] is not None:
        properties.TopicAlias = wanted["topic_alias"]
    return properties


class Agent:
    def __init__(self):
        self.client = None
        self.level = None
        self.leaving = False

    def connect(self, order):
        self.level = order["level"]
        modern = self.level == mqtt.MQTTv5
        arguments = {} if modern else {"clean_session": order["clean"]}
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=order["client_id"],
            protocol=self.level,
            reconnect_on_failure=False,
            transport=order["transport"],
            **arguments,
        )
        if order["transport"] == "websockets":
            self.client.ws_set_options(path="/mqtt")
        if order["cafile"] is not None:
            context = ssl.create_default_context(cafile=order["cafile"])
            if order["cert"] is not None:
                context.load_cert_chain(order["cert"], order["key"])
            if order["alpn"]:
                context.set_alpn_protocols(order["alpn"])
            self.client.tls_set_context(context)
        self.client.on_connect = self.on_connect
        self.client.on_disconnect = self.on_disconnect
        self.client.on_subscribe = self.on_subscribe
        self.client.on_message = self.on_message
        will = order["will"]
        if will is not None:
            properties = properties_of(PacketTypes.WILLMESSAGE, will) if modern else None
            self.client.will_set(
                will["topic"], payload_of(will), will["qos"], will["retain"], properties
            )
        arguments = {}
        if modern:
            properties = Properties(PacketTypes.CONNECT)
            if not order["clean"]:
                properties.SessionExpiryInterval = 3600
            if order["topic_alias_maximum"] is not None:
                properties.TopicAliasMaximum = order["topic_alias_maximum"]
            arguments = {"clean_start": order["clean"], "properties": properties}
        host = order["host"] if order["socket"] is None else order["socket"]
        self.client.connect(host, order["port"], 60, **arguments)
        self.client.loop_start()

    def subscribe(self, order):
        self.client.subscribe([(filter, order["qos"]) for filter in order["filters"]])

    def publish(self, order):
        modern = self.level == mqtt.MQTTv5
        properties = properties_of(PacketTypes.PUBLISH, order) if modern else None
        info = self.client.publish(
            order["topic"], payload_of(order), order["qos"], order["retain"], properties
        )
        info.wait_for_publish(PATIENCE)
        if info.is_published():
            emit(event="published")
        else:
            fail("not acknowledged in time")

    def leave(self):
        self.leaving = True
        if self.client is not None:
            self.client.disconnect()
            self.client.loop_stop()

    def on_connect(self, client, userdata, flags, reason_code, properties):
        if reason_code.is_failure:
            fail(f"refused: {reason_code}")
            return
        told = self.level >= mqtt.MQTTv311
        emit(event="connected", session_present=bool(flags.session_present) if told else None)

    def on_subscribe(self, client, userdata, mid, reason_codes, properties):
        emit(event="subscribed", codes=[code.value for code in reason_codes])

    def on_disconnect(self, client, userdata, flags, reason_code, properties):
        if not self.leaving:
            code = reason_code.value if flags.is_disconnect_packet_from_server else None
            emit(event="closed", code=code)

    def on_message(self, client, userdata, message):
        event = {
            "event": "message",
            "topic": message.topic,
            "qos": message.qos,
            "retain": message.retain,
        }
        if len(message.payload) > LARGE:
            handle, path = tempfile.mkstemp(dir=os.getcwd())
            with os.fdopen(handle, "wb") as file:
                file.write(message.payload)
            event["payload_file"] = path
        else:
            event["payload"] = message.payload.hex()
        if message.properties is not None:
            received = message.properties
            correlation_data = getattr(received, "CorrelationData", None)
            event["properties"] = {
                "user": [list(pair) for pair in getattr(received, "UserProperty", [])],
                "content_type": getattr(received, "ContentType", None),
                "response_topic": getattr(received, "ResponseTopic", None),
                "correlation_data": correlation_data and correlation_data.decode(),
            }
        emit(**event)


def main():
    agent = Agent()
    handlers = {"connect": agent.connect, "subscribe": agent.subscribe, "publish": agent.publish}
    for line in sys.stdin:
        order = json.loads(line)
        try:
            handlers[order["do"]](order)
        except Exception as error:  # whatever the library refuses is the harness's business
            fail(f"{order['do']}: {error!r}")
    agent.leave()


main()
