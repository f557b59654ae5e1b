"""A real S3 server on loopback for tests: moto's, and a way to it that is as bad as one likes.

    python s3_server.py [SEED RATE [unconditional]]

Makes the bucket `photos` and prints a line of JSON: `endpoint` is the server's address, `faulty` that
of a proxy before it, which spoils requests with the probability RATE, and may drop the conditions of
writes as an old server would. Then it does what each line of
stdin asks for, with boto3 and straight at the server, and prints a line of JSON for it. It ends with
stdin.
"""

import collections
import http.client
import json
import pathlib
import random
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
from moto.server import ThreadedMotoServer

BUCKET = "photos"


class Faults:
    """Which requests are spoiled, and how: the same numbers in the same order for the same seed."""

    KINDS = ("500", "503", "slow", "cut-request", "lost-answer", "cut-answer", "short-answer")

    def __init__(self, seed, rate):
        self.numbers = random.Random(seed)
        self.rate = rate
        self.lock = threading.Lock()
        self.counts = collections.Counter()

    def next(self):
        with self.lock:
            spoiled = self.numbers.random() < self.rate
            kind = self.numbers.choice(self.KINDS)
            self.counts["requests"] += 1
            if not spoiled:
                return None
            self.counts[kind] += 1
            return kind


def proxy(faults, host, port, unconditional):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def reset(self):
            """Ends the connection as a machine that lost power does: without a goodbye."""
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True

        def refuse(self, status, code):
            body = f"<Error><Code>{code}</Code><Message>{code} for a test</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def handle_any(self):
            fault = faults.next()
            length = int(self.headers.get("Content-Length") or 0)
            if fault == "cut-request":
                self.rfile.read(length // 2)
                return self.reset()
            body = self.rfile.read(length)
            if fault == "500":
                return self.refuse(500, "InternalError")
            if fault == "503":
                return self.refuse(503, "SlowDown")
            if fault == "slow":
                time.sleep(0.3)
            server = http.client.HTTPConnection(host, port)
            headers = {key: value for key, value in self.headers.items() if key.lower() != "expect"}
            if unconditional and self.command == "PUT":
                headers = {key: value for key, value in headers.items() if not key.lower().startswith("if-")}
            server.request(self.command, self.path, body, headers)
            answer = server.getresponse()
            content = answer.read()
            server.close()
            if fault == "lost-answer":
                return self.reset()
            self.send_response(answer.status)
            for key, value in answer.getheaders():
                if key.lower() not in ("connection", "date", "server", "transfer-encoding", "content-length"):
                    self.send_header(key, value)
            declared = answer.getheader("Content-Length") if self.command == "HEAD" else len(content)
            self.send_header("Content-Length", str(declared or 0))
            self.end_headers()
            if fault in ("cut-answer", "short-answer"):
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                if fault == "cut-answer":
                    return self.reset()
                self.close_connection = True
                return
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_):
            pass  # The other side was killed: that is what the tests do.

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def main():
    seed, rate = (int(sys.argv[1]), float(sys.argv[2])) if sys.argv[1:] else (0, 0.0)
    unconditional = sys.argv[3:] == ["unconditional"]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_bucket(Bucket=BUCKET)
    faults = Faults(seed, rate)

    def keys(prefix):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def upload(folder, prefix):
        files = [path for path in sorted(pathlib.Path(folder).rglob("*")) if path.is_file()]
        for path in files:
            client.upload_file(str(path), BUCKET, prefix + path.relative_to(folder).as_posix())
        return len(files)

    def download(prefix, folder):
        found = keys(prefix)
        for key in found:
            path = pathlib.Path(folder, key.removeprefix(prefix))
            path.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(BUCKET, key, str(path))
        return len(found)

    def put(key, text):
        client.put_object(Bucket=BUCKET, Key=key, Body=text.encode())

    def get(key):
        return client.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()

    def unfinished_uploads():
        return len(client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))

    def injected():
        return dict(faults.counts)

    commands = [keys, upload, download, put, get, unfinished_uploads, injected]
    commands = {command.__name__: command for command in commands}
    faulty = f"http://127.0.0.1:{proxy(faults, host, port, unconditional)}"
    print(json.dumps({"endpoint": endpoint, "faulty": faulty}), flush=True)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(commands[name](*arguments)), flush=True)


main()
