"""An identity provider on this machine, which publishes its keys as OpenID Connect says."""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "headrace"
_PUBLISH: dict[str, Any] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}


def make_key(algorithm: str, bits: int = 2048) -> Any:
    """Return a new private key."""
    if algorithm == "RS256":
        return rsa.generate_private_key(65537, bits)
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else ed25519.Ed25519PrivateKey.generate()


class IdentityProvider:
    """The provider.

    Attributes:
        published: The public keys, as JSON has them.
        replies: By path, what it says instead of what it should: a status and a body.
        asked: Paths that were asked for.
    """

    def __init__(self) -> None:
        self.url = ""
        self.published: list[dict[str, Any]] = []
        self.replies: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []
        self._private: dict[str, tuple[str, Any]] = {}

    def add_key(self, key_id: str, algorithm: str = "ES256", **changed: Any) -> None:
        """Make a key and publish it."""
        private = make_key(algorithm)
        self._private[key_id] = (algorithm, private)
        public = json.loads(_PUBLISH[algorithm].to_jwk(private.public_key()))
        self.published.append({**public, "kid": key_id, "use": "sig", "alg": algorithm, **changed})

    def sign(self, key_id: str = "k1", header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a token; a claim that is ``...`` is left out."""
        algorithm, private = self._private[key_id]
        return jwt.encode(self.claims(**claims), private, algorithm, {"kid": key_id, **(header or {})})

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Return the claims of a good token, some of them changed."""
        now = int(time.time())
        good = {"iss": self.url, "aud": AUDIENCE, "sub": "ada", "scope": "infer", "iat": now, "exp": now + 600}
        return {name: value for name, value in {**good, **changed}.items() if value is not ...}

    def answer(self, path: str) -> tuple[int, bytes]:
        """Return a status and a body."""
        self.asked.append(path)
        documents = {
            "/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/keys"},
            "/keys": {"keys": self.published},
        }
        return self.replies.get(path) or (200, json.dumps(documents.get(path, {})).encode())


@contextmanager
def identity_provider() -> Iterator[IdentityProvider]:
    """Give a provider with one key."""
    provider = IdentityProvider()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = provider.answer(self.path)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("location", body.decode())
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_address[1]}"
    provider.add_key("k1")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
