"""What S3 or the network refuses, as an error that names the object, the cause and the remedy."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - the library's, which is no OSError
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from headrace.errors import ModelError, StoreUnreachable, StoreUnusable

_NO_CREDENTIALS: Final = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    ProfileNotFound,
    SSOError,
)
_NO_ANSWER: Final = (HTTPClientError, ConnectionError, IncompleteReadError, OSError)
_DENIED: Final = frozenset({401, 403})
_LATER: Final = frozenset({408, 425, 429})
_SERVER_ERRORS: Final = range(500, 600)
_KEYS: Final = "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_EXPIRED: Final = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired"})  # S3 says 400 with them


@contextmanager
def remote(doing: str) -> Iterator[None]:
    """Translate whatever is raised while a request is sent and answered; no file is read or written in it.

    Args:
        doing: A verb and the object's address.

    Raises:
        StoreUnreachable: There was no answer, or one that says to try later.
        StoreUnusable: It refused.
    """
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # botocore raises what is no error of its own for wrong addresses and answers
        # Not the text of the error: a server may repeat what it was sent, the credentials' name among it.
        structlog.get_logger().debug(
            "store.refused", doing=doing, error=type(error).__name__, status=status_of(error), reason=_reason(error)
        )
        raise _translate(error, doing) from error


def status_of(error: Exception) -> int | None:
    """Return the HTTP status of an answer that is an error, if there was an answer."""
    found = _response(error).get("ResponseMetadata", {}).get("HTTPStatusCode")
    return found if isinstance(found, int) else None


def _reason(error: Exception) -> str:
    """Return S3's own short name of an error, such as ``NoSuchBucket``."""
    return str(_response(error).get("Error", {}).get("Code", ""))[:64]


def _response(error: Exception) -> dict[str, Any]:
    return dict(error.response) if isinstance(error, ClientError) else {}


def _is_endless(error: BaseException | None) -> bool:
    """Whether botocore followed redirects until the stack was full: it asks where a bucket is, and is redirected again.

    Where the stack ends, botocore may be in the middle of a request, and then says that the connection failed.
    """
    while error is not None and not isinstance(error, RecursionError):
        error = error.__cause__ or error.__context__
    return error is not None


def _translate(error: Exception, doing: str) -> ModelError:
    status, reason = status_of(error), _reason(error)
    kind: type[ModelError] = StoreUnusable
    if isinstance(error, _NO_CREDENTIALS):
        message = f"there are no credentials; set {_KEYS}"
    elif reason == "NoSuchBucket":
        message = "there is no such bucket; check the address, AWS_ENDPOINT_URL and AWS_DEFAULT_REGION"
    elif status in _DENIED or reason in _EXPIRED:
        message = f"access is denied (HTTP {status}); check that the credentials ({_KEYS}) are valid and may do that"
    elif status is not None:
        kind, message = _explain(status)
    elif _is_endless(error):
        message = "the server redirects without end; check AWS_ENDPOINT_URL and AWS_DEFAULT_REGION"
    elif isinstance(error, _NO_ANSWER):
        kind, message = StoreUnreachable, "the server did not answer; check the network and AWS_ENDPOINT_URL"
    elif isinstance(error, (BotoCoreError, ValueError)):
        message = "the AWS configuration cannot be used; check AWS_ENDPOINT_URL, AWS_DEFAULT_REGION and AWS_CONFIG_FILE"
    else:
        message = "the server does not answer as S3 does; check AWS_ENDPOINT_URL"
    return kind(f"cannot {doing}: {message}", field="store.remote")


def _explain(status: int) -> tuple[type[ModelError], str]:
    """Return what an answer with such a status means that is none of the usual refusals."""
    if status in _LATER or status in _SERVER_ERRORS:
        return StoreUnreachable, f"the server failed (HTTP {status}); try again later"
    return StoreUnusable, (
        f"the server refused (HTTP {status}); check the address, AWS_ENDPOINT_URL and AWS_DEFAULT_REGION"
    )
