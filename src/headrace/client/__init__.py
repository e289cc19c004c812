"""A client of a server: what ``headrace.load`` does in this process, asked over REST or gRPC.

The asynchronous face does the work, and the other waits for it. Below them ``asking`` cuts a list into requests,
``retrying`` asks again, and a transport (``rest``, ``grpc``) sends one request and reads its answer.
"""

from headrace.client.asynchronous import AsyncClient
from headrace.client.synchronous import Client

__all__ = ["AsyncClient", "Client"]
