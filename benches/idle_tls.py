#!/usr/bin/env python3
"""Says what an idle TLS connection costs a broker.

Opens COUNT connections of MQTT 3.1.1 over TLS to 127.0.0.1:PORT, and divides what the memory of the
process PID grew by. Some are opened before, so that what the first ones cost is not counted.
"""

import argparse
import socket
import ssl
import time

SETTLED_SECONDS = 1
UPGRADE = (
    b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
)


def resident_bytes(pid):
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    raise SystemExit(f"process {pid} says nothing of its memory")


def read_until(stream, is_enough):
    got = b""
    while not is_enough(got):
        more = stream.recv(1)
        if not more:
            raise SystemExit(f"closed after {got!r}")
        got += more
    return got


def connect(context, port, client_id, is_websocket):
    plain = socket.create_connection(("127.0.0.1", port))
    stream = context.wrap_socket(plain, server_hostname="localhost")
    body = b"\0\4MQTT\4\2\0\0" + len(client_id).to_bytes(2, "big") + client_id
    packet = bytes([0x10, len(body)]) + body
    connack = b"\x20\2\0\0"
    if is_websocket:
        stream.sendall(UPGRADE)
        head = read_until(stream, lambda got: got.endswith(b"\r\n\r\n"))
        if not head.startswith(b"HTTP/1.1 101 "):
            raise SystemExit(f"refused: {head!r}")
        # Binary frames: the client's with a mask of zeros, the server's without.
        packet = bytes([0x82, 0x80 | len(packet), 0, 0, 0, 0]) + packet
        connack = bytes([0x82, len(connack)]) + connack
    stream.sendall(packet)
    answer = read_until(stream, lambda got: len(got) == len(connack))
    if answer != connack:
        raise SystemExit(f"refused: {answer.hex()}")
    return stream


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pid", type=int, metavar="PID")
    parser.add_argument("port", type=int, metavar="PORT")
    parser.add_argument("ca_file", metavar="CA_FILE")
    parser.add_argument("count", type=int, nargs="?", default=2000, metavar="COUNT")
    parser.add_argument("--cert", help="certificate to show")
    parser.add_argument("--key", help="its key")
    parser.add_argument("--websocket", action="store_true", help="over a WebSocket at /mqtt")
    args = parser.parse_args()
    context = ssl.create_default_context(cafile=args.ca_file)
    if args.cert:
        context.load_cert_chain(args.cert, args.key)

    def connect_as(client_id):
        return connect(context, args.port, client_id, args.websocket)

    first = [connect_as(b"first%d" % number) for number in range(50)]
    time.sleep(SETTLED_SECONDS)
    before = resident_bytes(args.pid)
    idle = [connect_as(b"idle%d" % number) for number in range(args.count)]
    time.sleep(SETTLED_SECONDS)
    after = resident_bytes(args.pid)
    each = (after - before) // args.count
    print(f"{len(idle)} idle connections over {first[0].version()}: {each} bytes each")


main()
