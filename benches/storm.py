#!/usr/bin/env python3
"""Says how much memory a broker keeps after a storm.

Starts the broker BINARY anew for each kind of storm, lets one client connect, and reads what is
resident then; storms; and reads again, up to WAIT seconds after the last of it is over.

  connections  10,000 clients connect, subscribe to a filter of their own, and leave
  queued       60,000 messages of QoS 1 are queued for an absent client, and drained
  retained     200,000 retained messages are set, and removed
"""

import argparse
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time

PAYLOAD = b"x" * 64
AT_ONCE = 100
CONFIGURATION = """
[[listener]]
address = "127.0.0.1:{port}"
[log]
level = "error"
[limits]
inflight_max = 65535
receive_maximum = 65535
queue_messages_max = 1000000
[broker]
workers = {workers}
"""


class Broker:
    def __init__(self, binary, workers):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.configuration = tempfile.NamedTemporaryFile("w", suffix=".toml")
        self.configuration.write(CONFIGURATION.format(port=self.port, workers=workers))
        self.configuration.flush()
        command = [binary, "broker", "--config", self.configuration.name]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def memory(self, name="VmRSS"):
        """What is resident, or has been at most (VmHWM), in bytes."""
        with open(f"/proc/{self.process.pid}/status") as status:
            for line in status:
                if line.startswith(name + ":"):
                    return int(line.split()[1]) * 1024
        raise SystemExit("the broker says nothing of its memory")

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.configuration.close()


class Client:
    """One connection of MQTT 3.1.1."""

    def __init__(self, port, client_id, is_clean=True):
        for _ in range(500):
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        else:
            raise SystemExit(f"nobody listens on port {port}")
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        flags = b"\2" if is_clean else b"\0"
        body = b"\0\4MQTT\4" + flags + b"\0\0" + text(client_id)
        self.socket.sendall(packet(0x10, body))
        kind, answer = self.read()
        if kind != 0x20 or answer[1] != 0:
            raise SystemExit(f"refused: {answer.hex()}")

    def subscribe(self, topic_filter, qos=0):
        self.socket.sendall(packet(0x82, b"\0\1" + text(topic_filter) + bytes([qos])))
        kind, answer = self.read()
        if kind != 0x90 or answer[2] == 0x80:
            raise SystemExit(f"no subscription: {answer.hex()}")

    def ping(self):
        """Waits until the broker has handled everything that was sent."""
        self.socket.sendall(b"\xc0\0")
        while self.read()[0] != 0xD0:
            pass

    def leave(self):
        self.socket.sendall(b"\xe0\0")
        self.socket.close()

    def read(self):
        while True:
            length, at = 0, 1
            while at < len(self.received):
                length |= (self.received[at] & 0x7F) << (7 * (at - 1))
                at += 1
                if self.received[at - 1] < 0x80:
                    break
            else:
                self.fill()
                continue
            while len(self.received) < at + length:
                self.fill()
            kind, body = self.received[0], self.received[at : at + length]
            self.received = self.received[at + length :]
            return kind, body

    def fill(self):
        more = self.socket.recv(16384)
        if not more:
            raise SystemExit("closed")
        self.received += more


def packet(first, body):
    length, rest = b"", len(body)
    while True:
        length += bytes([rest & 0x7F | (0x80 if rest > 0x7F else 0)])
        rest >>= 7
        if not rest:
            return bytes([first]) + length + body


def text(string):
    encoded = string.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def connections(broker, count):
    clients = []
    for number in range(count):
        client = Client(broker.port, f"client-{number:08}")
        client.subscribe(f"devices/{number:08}/commands")
        clients.append(client)
    held = broker.memory()
    for client in clients:
        client.leave()
    return held


def queued(broker, count):
    reader = Client(broker.port, "reader", is_clean=False)
    reader.subscribe("queue/#", qos=1)
    reader.leave()
    writer = Client(broker.port, "writer")
    for first in range(0, count, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, count))
        writer.socket.sendall(b"".join(publish(0x32, f"queue/{n % 100}", n) for n in numbers))
        for _ in numbers:
            writer.read()
    writer.leave()
    held = broker.memory()
    reader = Client(broker.port, "reader", is_clean=False)
    for _ in range(count):
        _, body = reader.read()
        at = 2 + int.from_bytes(body[:2], "big")
        reader.socket.sendall(b"\x40\2" + body[at : at + 2])
    reader.leave()
    Client(broker.port, "reader").leave()
    return held


def publish(first, topic, number, payload=PAYLOAD):
    packet_id = (number % 0xFFFF + 1).to_bytes(2, "big") if first & 0x06 else b""
    return packet(first, text(topic) + packet_id + payload)


def retained(broker, count):
    writer = Client(broker.port, "writer")
    held = 0
    for payload in (PAYLOAD, b""):
        for first in range(0, count, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, count))
            topics = (f"site/{n % 100}/device/{n:08}/state" for n in numbers)
            writer.socket.sendall(b"".join(publish(0x31, topic, 0, payload) for topic in topics))
        writer.ping()
        held = held or broker.memory()
    writer.leave()
    return held


STORMS = {"connections": (connections, 10_000), "queued": (queued, 60_000), "retained": (retained, 200_000)}


def measure(arguments, kind):
    storm, count = STORMS[kind]
    count = max(1, int(count * arguments.scale))
    with Broker(arguments.binary, arguments.workers) as broker:
        first = Client(broker.port, "first")
        time.sleep(1)
        start = broker.memory()
        each = []
        for _ in range(arguments.times):
            began = broker.cpu_seconds()
            held = storm(broker, count)
            cpu = broker.cpu_seconds() - began
            ended = time.monotonic()
            after = {}
            for seconds in (1, 5, 10, arguments.wait):
                time.sleep(max(0, ended + seconds - time.monotonic()))
                after[seconds] = broker.memory()
                if after[seconds] <= start * 1.2:
                    break
            seconds, least = min(after.items(), key=lambda pair: pair[1])
            each.append((held, cpu, least, seconds))
        first.ping()
    for held, cpu, least, seconds in each:
        print(
            f"{kind:12} start {mega(start)}  full {mega(held)} "
            f"({(held - start) // count} bytes each)  after {seconds:2} s {mega(least)} "
            f"({least / start:.2f} of the start)  {cpu / count * 1e6:.1f} us each",
            flush=True,
        )
    return each[-1][2] <= start * 1.2


def mega(count):
    return f"{count / 1e6:.1f} MB"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("binary", metavar="BINARY", help="such as target/release/mqttstack")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(STORMS))
    parser.add_argument("--scale", type=float, default=1, help="this many times as much")
    parser.add_argument("--times", type=int, default=1, help="so many storms, one after another")
    parser.add_argument("--wait", type=int, default=30, metavar="SECONDS", help="at most")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    results = [measure(arguments, kind) for kind in arguments.kinds or STORMS]
    sys.exit(0 if all(results) else "more than a fifth above the start")


main()
