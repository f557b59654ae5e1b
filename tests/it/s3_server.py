"""A real S3 server on loopback for tests: moto's, with a few objects in it.

    python s3_server.py NAME=FILE ..

Makes the bucket `photos`, puts each FILE into it under its NAME, prints the server's address on a
line of its own and serves until stdin is closed.
"""

import sys

import boto3
from moto.server import ThreadedMotoServer

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
client.create_bucket(Bucket="photos")
for argument in sys.argv[1:]:
    name, _, file = argument.partition("=")
    client.upload_file(file, "photos", name)
print(endpoint, flush=True)
sys.stdin.read()
