#!/usr/bin/env python3
"""Says what an idle TLS connection costs a broker: python3 idle_tls.py PID PORT CA_FILE [COUNT]

Opens COUNT connections of MQTT 3.1.1 over TLS to 127.0.0.1:PORT, and divides what the memory of the
process PID grew by. Some are opened before, so that what the first ones cost is not counted.
"""

import socket
import ssl
import sys
import time

SETTLED_SECONDS = 1


def resident_bytes(pid):
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    raise SystemExit(f"process {pid} says nothing of its memory")


def connect(context, port, client_id):
    plain = socket.create_connection(("127.0.0.1", port))
    stream = context.wrap_socket(plain, server_hostname="localhost")
    body = b"\0\4MQTT\4\2\0\0" + len(client_id).to_bytes(2, "big") + client_id
    stream.sendall(bytes([0x10, len(body)]) + body)
    connack = stream.recv(4)
    if connack != b"\x20\2\0\0":
        raise SystemExit(f"refused: {connack.hex()}")
    return stream


def main():
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    pid, port, ca_file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 2000
    context = ssl.create_default_context(cafile=ca_file)
    first = [connect(context, port, b"first%d" % number) for number in range(50)]
    time.sleep(SETTLED_SECONDS)
    before = resident_bytes(pid)
    idle = [connect(context, port, b"idle%d" % number) for number in range(count)]
    time.sleep(SETTLED_SECONDS)
    after = resident_bytes(pid)
    each = (after - before) // count
    print(f"{len(idle)} idle connections over {first[0].version()}: {each} bytes each")


main()
