"""Whatever a client sends, it gets a 4xx that helps it, and nobody else notices."""

import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
from tests.support.server import Reply, RunningServer, parse_reply, receive_all, receive_one, wait_until

from headrace.codings import CODINGS, Coding, compress, decompress

GOOD = {"inputs": ["w1 w2"]}
JSON = {"content-type": "application/json"}
EMBED_HEAD = b"POST /api/v1/embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


@pytest.fixture(autouse=True)
def _others_notice_nothing(server: RunningServer) -> Iterator[None]:
    """Around every case: the same process, the same answer to a good request."""
    before = server.embed(GOOD).json()["results"]
    pid = server.process.pid
    yield
    assert server.process.poll() is None
    assert server.process.pid == pid
    assert server.embed(GOOD).json()["results"] == before
    assert server.request("GET", "/livez").status == 200


def assert_problem(reply: Reply, status: int, code: str, field: str | None = None) -> None:
    assert reply.status == status, reply.body
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["type"] == f"urn:headrace:error:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"]
    assert problem.get("field") == field
    for secret in ("Traceback", "/src/", ".py", "0x"):
        assert secret not in problem["detail"]


BAD_BODIES = {
    "empty body": (b"", 400, "request.malformed", None),
    "truncated": (b'{"inputs": ["a"', 400, "request.malformed", None),
    "trailing garbage": (b'{"inputs": ["a"]}{}', 400, "request.malformed", None),
    "a million deep": (b"[" * 1_000_000, 400, "request.malformed", None),
    "a million deep objects": (b'{"":' * 300_000, 400, "request.malformed", None),
    "invalid UTF-8": (b'{"inputs": ["\xff"]}', 400, "request.malformed", None),
    "overlong UTF-8": (b'{"inputs": ["\xc0\xaf"]}', 400, "request.malformed", None),
    "UTF-8 BOM": (b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), 400, "request.malformed", None),
    "UTF-16": (json.dumps(GOOD).encode("utf-16"), 400, "request.malformed", None),
    "lone surrogate": (b'{"inputs": ["\\ud800"]}', 400, "request.malformed", None),
    "NaN literal": (b'{"inputs": [NaN]}', 400, "request.malformed", None),
    "Infinity literal": (b'{"inputs": ["a"], "x": -Infinity}', 400, "request.malformed", None),
    "5,000 digits": (b'{"inputs": ' + b"9" * 5000 + b"}", 400, "request.malformed", None),
    "an array": (b"[]", 422, "request.invalid", None),
    "a string": (b'"inputs"', 422, "request.invalid", None),
    "null": (b"null", 422, "request.invalid", None),
    "no inputs": (b"{}", 422, "request.invalid", "inputs"),
    "inputs is a string": (b'{"inputs": "a"}', 422, "request.invalid", "inputs"),
    "inputs is null": (b'{"inputs": null}', 422, "request.invalid", "inputs"),
    "empty list": (b'{"inputs": []}', 422, "request.invalid", "inputs"),
    "number for a text": (b'{"inputs": ["a", 7]}', 422, "request.invalid", "inputs[1]"),
    "null for a text": (b'{"inputs": [null]}', 422, "request.invalid", "inputs[0]"),
    "list for a text": (b'{"inputs": ["a", "b", ["c"]]}', 422, "request.invalid", "inputs[2]"),
    "unknown field": (b'{"inputs": ["a"], "input": 1}', 422, "request.invalid", "input"),
    "unknown option": (b'{"inputs": ["a"], "options": {"pool": 1}}', 422, "request.invalid", "options.pool"),
    "unknown truncate": (
        b'{"inputs": ["a"], "options": {"truncate": "chop"}}',
        422,
        "request.invalid",
        "options.truncate",
    ),
    "number for a boolean": (
        b'{"inputs": ["a"], "options": {"normalize": 1}}',
        422,
        "request.invalid",
        "options.normalize",
    ),
    "options is a list": (b'{"inputs": ["a"], "options": []}', 422, "request.invalid", "options"),
    "model is a number": (b'{"inputs": ["a"], "model": 1}', 422, "request.invalid", "model"),
    "unknown model": (b'{"inputs": ["a"], "model": "nobody"}', 404, "model.unknown", "model"),
    "model is a path": (b'{"inputs": ["a"], "model": "../tiny"}', 404, "model.unknown", "model"),
    "model with NUL": (b'{"inputs": ["a"], "model": "tiny\\u0000"}', 404, "model.unknown", "model"),
    "too many inputs": (json.dumps({"inputs": ["a"] * 17}).encode(), 413, "request.too_large", "inputs"),
    "text with too many characters": (
        json.dumps({"inputs": ["a", "b" * 10_001]}).encode(),
        413,
        "request.too_large",
        "inputs[1]",
    ),
    "text over the window": (
        json.dumps({"inputs": ["a", "w1 " * 15], "options": {"truncate": "error"}}).encode(),
        422,
        "input.too_long",
        "inputs[1]",
    ),
}


@pytest.mark.parametrize(("body", "status", "code", "field"), BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_bad_body_is_refused_with_code_and_field(
    server: RunningServer, body: bytes, status: int, code: str, field: str | None
):
    assert_problem(server.embed(raw=body, headers={"content-length": str(len(body))}), status, code, field)


def test_a_refusal_does_not_repeat_the_text(server: RunningServer):
    reply = server.embed({"inputs": ["fine", {"secret": "hunter2"}]})
    assert b"hunter2" not in reply.body
    assert "hunter2" not in server.log.read_text()


def test_no_input_text_reaches_the_log(server: RunningServer):
    server.embed({"inputs": ["w1 swordfish"]})
    server.embed({"inputs": ["poison swordfish"]})
    assert "swordfish" not in server.log.read_text()


GOOD_TEXTS = ["", " ", "\x00", "\t\n", "👍", "\ud83d\udc4d", "é", "e\u0301", "ﷺ", "a" * 10_000, "<script>", "{{7*7}}"]


@pytest.mark.parametrize("text", GOOD_TEXTS, ids=ascii)
def test_every_unicode_text_is_answered(server: RunningServer, text: str):
    body = json.dumps({"inputs": [text]}, ensure_ascii=True).encode()
    reply = server.embed(raw=body)
    assert reply.status == 200, reply.body
    assert len(reply.json()["results"][0]["embedding"]) == 8


def test_a_surrogate_pair_is_the_character_it_spells(server: RunningServer):
    results = [
        server.embed(raw=b'{"inputs": ["w1 %b"]}' % text).json()["results"]
        for text in (b"\\ud83d\\udc4d", "👍".encode())
    ]
    assert results[0] == results[1]


def test_a_text_that_breaks_the_model_is_an_error_of_its_own_request(server: RunningServer):
    answers: list[int] = []

    def ask() -> None:
        answers.append(server.embed({"inputs": ["w1 w3", f"w{len(answers)}"]}).status)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    broken = [server.embed({"inputs": ["w1", "poison"]}), server.embed({"inputs": ["nan"]})]
    for thread in threads:
        thread.join()
    assert answers == [200] * 8
    assert [reply.json()["code"] for reply in broken] == ["engine.failed", "output.invalid"]
    assert [reply.json()["field"] for reply in broken] == ["inputs[1]", "inputs[0]"]


def test_a_body_over_the_limit_is_refused_before_it_is_sent(server: RunningServer):
    with server.connect() as connection:
        connection.sendall(EMBED_HEAD + b"content-length: 1000000000000\r\n\r\n")
        assert_problem(parse_reply(receive_all(connection)), 413, "request.too_large")


def test_a_chunked_body_over_the_limit_is_refused(server: RunningServer):
    chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
    reply = server.embed(raw=chunk * 600 + b"0\r\n\r\n", headers={"transfer-encoding": "chunked"})
    assert_problem(reply, 413, "request.too_large")


def test_a_chunked_body_under_the_limit_is_read(server: RunningServer):
    body = json.dumps(GOOD).encode()
    chunks = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in body)
    assert server.embed(raw=chunks + b"0\r\n\r\n", headers={"transfer-encoding": "chunked"}).status == 200


@pytest.mark.parametrize("coding", CODINGS)
def test_what_is_compressed_is_read_and_bounded_by_what_it_expands_to(server: RunningServer, coding: Coding):
    encoded = {"content-encoding": coding}
    good = compress(json.dumps(GOOD).encode(), coding)
    assert server.embed(raw=good, headers=encoded).status == 200
    assert_problem(server.embed(raw=compress(b" " * 10_000_000, coding), headers=encoded), 413, "request.too_large")
    assert_problem(server.embed(raw=good[:-5], headers=encoded), 400, "request.malformed")
    assert_problem(server.embed(raw=good + good, headers=encoded), 400, "request.malformed")
    assert_problem(server.embed(raw=json.dumps(GOOD).encode(), headers=encoded), 400, "request.malformed")
    assert_problem(server.embed(raw=compress(good, coding), headers=encoded), 400, "request.malformed")


@pytest.mark.parametrize("coding", CODINGS)
def test_a_large_answer_is_compressed_for_whoever_reads_it(server: RunningServer, coding: Coding):
    asked = {"inputs": [f"w{number}" for number in range(16)]}
    plain = server.embed(asked).json()["results"]
    reply = server.embed(asked, headers={"accept-encoding": f"br, {coding}"})
    assert (reply.headers["content-encoding"], reply.headers["vary"]) == (coding, "accept-encoding")
    assert int(reply.headers["content-length"]) == len(reply.body)
    assert json.loads(decompress(reply.body, coding, 1 << 24))["results"] == plain


def test_a_list_of_codings_may_be_absurd(server: RunningServer):
    for shown in (",a" * 7000, "gzip;q=" + "9" * 7000, ";" * 9000, "\xff\x01gzip"):
        assert server.embed(GOOD, headers={"accept-encoding": shown}).status in {200, 400}
    assert server.embed(GOOD, headers={"accept-encoding": ",a" * 10_000}).status == 431


@pytest.mark.parametrize(
    "encoding", ["br", "deflate", "gzip, gzip", "zstd, gzip", "gzip, zstd", "zstd, zstd", "x" * 1000]
)
def test_another_content_encoding_is_refused(server: RunningServer, encoding: str):
    reply = server.embed(GOOD, headers={"content-encoding": encoding})
    assert_problem(reply, 415, "request.unsupported", "content-encoding")


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/x-pickle",
        "application/json; charset=utf-7",
        "application/json; charset=utf-8; charset=utf-7",
        "application/json;" + "=" * 4096,
        "application/jsonp",
    ],
)
def test_another_content_type_is_refused(server: RunningServer, content_type: str | None):
    headers = {} if content_type is None else {"content-type": content_type}
    reply = server.request("POST", "/api/v1/embed", json.dumps(GOOD).encode(), headers)
    assert_problem(reply, 415, "request.unsupported", "content-type")


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=UTF-8", "application/json;"])
def test_json_may_name_its_charset(server: RunningServer, content_type: str):
    assert server.embed(GOOD, headers={"content-type": content_type}).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("PUT", "/api/v1/embed", 405, "method.unsupported"),
        ("DELETE", "/api/v1/models", 405, "method.unsupported"),
        ("POST", "/livez", 405, "method.unsupported"),
        ("GET", "/", 404, "route.unknown"),
        ("POST", "/api/v1/embed/", 404, "route.unknown"),
        ("POST", "//api/v1/embed", 404, "route.unknown"),
        ("POST", "/API/V1/EMBED", 404, "route.unknown"),
        ("POST", "/api/v1/./embed", 404, "route.unknown"),
        ("GET", "/api/v1/models/../../livez", 404, "route.unknown"),
        ("GET", "/api/v1/models/nobody", 404, "model.unknown"),
        ("GET", "/api/v1/models/..%2ftiny", 404, "route.unknown"),
        ("GET", "/api/v1/models/%00", 404, "model.unknown"),
        ("GET", "/docs/..%2f..%2fetc%2fpasswd", 404, "route.unknown"),
        ("GET", "/docs/nothing.js", 404, "route.unknown"),
    ],
)
def test_a_wrong_path_or_method_is_refused(server: RunningServer, method: str, path: str, status: int, code: str):
    reply = server.request(method, path, b"{}" if method == "POST" else b"", JSON)
    assert reply.status == status, reply.body
    assert reply.json()["code"] == code
    if status == 405:
        assert reply.headers["allow"]


@pytest.mark.parametrize(
    "host",
    ["", " ", "a b", "evil/../admin?", "x@y", "a" * 4096, "127.0.0.1:port", "[::1", "127.0.0.1:123456", "a\tb", "<x>"],
)
def test_a_malformed_host_is_refused(server: RunningServer, host: str):
    assert_problem(server.request("GET", "/api/v1/models", headers={"host": host}), 400, "host.invalid")


@pytest.mark.parametrize("lines", [b"", b"host: localhost\r\nhost: localhost\r\n"], ids=["none", "two"])
def test_exactly_one_host_is_needed(server: RunningServer, lines: bytes):
    reply = parse_reply(server.send_raw(b"GET /livez HTTP/1.1\r\nconnection: close\r\n" + lines + b"\r\n"))
    assert_problem(reply, 400, "host.invalid")


@pytest.mark.parametrize("host", ["example.com", "127.0.0.1.example.com", "10.0.0.1", "localhost.example.com:8000"])
def test_without_keys_a_foreign_host_is_refused(server: RunningServer, host: str):
    assert_problem(server.request("GET", "/api/v1/models", headers={"host": host}), 403, "host.forbidden")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "localhost:", "localhost.", "127.0.0.1", "127.9.9.9:80", "[::1]:8000"]
)
def test_this_machine_by_any_of_its_names_is_answered(server: RunningServer, host: str):
    assert server.request("GET", "/livez", headers={"host": host}).status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        bytes(range(256)) * 100,
        b"GET /livez HTTP/1.1\r\nhost : x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: x\r\nbad\x00name: 1\r\n\r\n",
        b"GET /livez\x00 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"POST /api/v1/embed HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/v1/embed HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc",
        b"POST /api/v1/embed HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /api/v1/embed HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked\r\n\r\n",
    ],
    ids=["tls", "http2", "bytes", "space", "nul in name", "nul in path", "cl+te", "two cl", "cl<0", "te"],
)
def test_what_is_no_http_is_refused_and_hung_up_on(server: RunningServer, data: bytes):
    reply = parse_reply(server.send_raw(data))
    assert_problem(reply, 400, "request.malformed")
    assert reply.headers["connection"] == "close"


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * 4_000_000,
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: localhost\r\n" + b"x: a\r\n" * 10_000 + b"\r\n",
    ],
    ids=["one header", "a header without end", "path", "many headers"],
)
def test_headers_over_the_limit_are_refused(server: RunningServer, head: bytes):
    assert_problem(parse_reply(server.send_raw(head)), 431, "request.too_large")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", None),
        (b"GET /livez HTTP/1.1\r\nhost: local", 408),
        (EMBED_HEAD + b'content-length: 20\r\n\r\n{"inp', 408),
    ],
    ids=["nothing", "half a header", "half a body"],
)
def test_a_request_that_does_not_arrive_is_given_up(server: RunningServer, sent: bytes, status: int | None):
    with server.connect() as connection:
        connection.sendall(sent)
        data = receive_all(connection)
    if status is None:
        assert data == b""
    else:
        assert_problem(parse_reply(data), status, "request.timeout")


def test_a_body_that_trickles_is_given_up(server: RunningServer):
    with server.connect() as connection:
        connection.sendall(EMBED_HEAD + b"content-length: 2000\r\n\r\n")
        connection.settimeout(0.05)
        data = b""
        end = time.monotonic() + 20
        while not data and time.monotonic() < end:
            try:
                connection.sendall(b" ")
                data = connection.recv(65536)
            except TimeoutError:
                continue
        connection.settimeout(20)
        data += receive_all(connection)
    assert_problem(parse_reply(data), 408, "request.timeout")


@pytest.mark.parametrize("cut", [10, 100, 170])
def test_a_client_that_leaves_in_the_middle_is_no_error(server: RunningServer, cut: int):
    request = EMBED_HEAD + b"content-length: 60\r\n\r\n" + json.dumps(GOOD).encode().ljust(60)
    with server.connect() as connection:
        connection.sendall(request[:cut])
    assert '"request.failed"' not in server.log.read_text()


def test_a_client_that_leaves_before_the_end_of_its_body_is_counted_as_gone(server: RunningServer):
    before = left_count(server)
    for _ in range(20):
        with server.connect() as connection:
            connection.sendall(EMBED_HEAD + b"content-length: 1000\r\n\r\n{")
    wait_until(lambda: left_count(server) == before + 20)


def left_count(server: RunningServer) -> int:
    lines = server.request("GET", "/metrics").body.decode().splitlines()
    found = [line for line in lines if line.startswith("headrace_http_responses_total{") and 'status="499"' in line]
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in found))


def test_pipelined_requests_are_answered_in_order(server: RunningServer):
    one = b"GET /api/v1/models/tiny HTTP/1.1\r\nhost: localhost\r\n\r\n"
    two = b"GET /api/v1/models/other HTTP/1.1\r\nhost: localhost\r\n\r\n"
    last = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    data = server.send_raw((one + two) * 50 + last)
    assert data.count(b"HTTP/1.1 200") == 101
    names = [part[:7] for part in data.split(b'"name":"')[1:]]
    assert names == [b'tiny","'[:7], b'other","'[:7]] * 50


@pytest.mark.parametrize("value", ["a" * 65, "x y", "<b>", "\x1b[31m", "ü"])
def test_a_request_id_that_could_do_harm_is_replaced(server: RunningServer, value: str):
    reply = server.request("GET", "/livez", headers={"x-request-id": value})
    assert reply.status in {200, 400}
    assert reply.headers.get("x-request-id") != value


def test_a_request_id_comes_back(server: RunningServer):
    assert server.request("GET", "/livez", headers={"x-request-id": "my-id.1"}).headers["x-request-id"] == "my-id.1"
    problem = server.request("GET", "/nothing", headers={"x-request-id": "my-id.2"})
    assert problem.json()["request_id"] == problem.headers["x-request-id"] == "my-id.2"


@pytest.mark.parametrize("value", ["0", "0.0", "-1", "1e", "nan", "inf", "soon", "", "1, 1", "1" * 21, "\u0663", "1_0"])
def test_a_timeout_that_is_no_number_of_seconds_is_refused(server: RunningServer, value: str):
    reply = server.embed(GOOD, headers={"x-request-timeout": value.encode().decode("latin-1")})
    assert_problem(reply, 422, "request.invalid", "x-request-timeout")


@pytest.mark.parametrize("value", ["0.5", "30", "999999999", "2.000000001"])
def test_a_timeout_is_some_seconds_and_no_more_than_the_server_allows(server: RunningServer, value: str):
    assert server.embed(GOOD, headers={"x-request-timeout": value}).status == 200


def test_an_answer_that_would_come_after_the_time_that_a_client_gives_is_no_5xx(server: RunningServer):
    new = {"inputs": [f"w1 w2 {time.time_ns()}"]}
    assert_problem(server.embed(new, headers={"x-request-timeout": "0.000000001"}), 408, "timeout.elapsed")


@pytest.mark.parametrize("name", ["x-forwarded-for", "x-original-url", "x-http-method-override", "x-tenant-id"])
def test_headers_that_claim_to_be_somebody_else_are_ignored(server: RunningServer, name: str):
    reply = server.embed(GOOD, headers={name: "/livez"})
    assert reply.status == 200
    assert reply.json()["task"] == "embed"


LIVEZ = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"


def test_garbage_after_good_requests_is_refused_after_their_answers(server: RunningServer):
    body = json.dumps(GOOD).encode()
    embed = EMBED_HEAD + b"content-length: %d\r\n\r\n" % len(body) + body
    data = server.send_raw(LIVEZ + embed + b"GARBAGE\r\n\r\n")
    assert [part[:3] for part in data.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit()] == [b"200", b"200", b"400"]
    assert b'"status":"live"' in data.split(b"HTTP/1.1 ")[1]
    assert '"request.failed"' not in server.log.read_text()


def test_nothing_after_a_refusal_is_run(server: RunningServer):
    body = json.dumps(GOOD).encode()
    smuggled = EMBED_HEAD + b"x-request-id: smuggled\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    data = server.send_raw(b"GET /livez?" + b"a" * 17_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n" + smuggled)
    assert data.count(b"HTTP/1.1 ") == 1
    assert_problem(parse_reply(data), 431, "request.too_large")
    assert "smuggled" not in server.log.read_text()


def test_a_chunk_that_is_no_chunk_ends_its_own_request_only(server: RunningServer):
    broken = EMBED_HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n"
    data = server.send_raw(LIVEZ + broken)
    assert [part[:3] for part in data.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit()] == [b"200", b"400"]
    assert_problem(parse_reply(server.send_raw(broken)), 400, "request.malformed")
    assert '"request.failed"' not in server.log.read_text()


@pytest.mark.parametrize("trailer", [b"a: b\r\n" * 20_000, b"a: " + b"b" * 200_000], ids=["many", "without end"])
@pytest.mark.parametrize("head", [EMBED_HEAD, LIVEZ[:-2]], ids=["waiting", "answered"])
def test_trailers_are_bounded(server: RunningServer, head: bytes, trailer: bytes):
    data = server.send_raw(head + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" + trailer)
    assert len(data.split(b"HTTP/1.1 ")) == 2  # one answer, and the connection was closed


@pytest.mark.parametrize(
    "data",
    [
        b"POST /nothing HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n1",
        b"GET /livez HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n1",
    ],
    ids=["a body nobody wants", "a body for a probe"],
)
def test_no_connection_is_kept_for_ever(server: RunningServer, data: bytes):
    assert len(server.send_raw(data).split(b"HTTP/1.1 ")) >= 2


def test_a_connection_that_only_pretends_to_go_on_is_closed(server: RunningServer):
    with server.connect() as connection:
        connection.sendall(LIVEZ)
        assert receive_one(connection).status == 200
        connection.sendall(b"\r\n")
        receive_all(connection)


def test_a_connection_is_kept_for_the_next_request(server: RunningServer):
    with server.connect() as connection:
        for _ in range(3):
            connection.sendall(LIVEZ)
            assert receive_one(connection).status == 200
        connection.sendall(EMBED_HEAD + b"content-length: 2\r\n\r\n{}")
        assert receive_one(connection).status == 422
        connection.sendall(LIVEZ)
        assert receive_one(connection).status == 200


def test_a_client_that_resets_its_connection_is_no_stranger(server: RunningServer):
    before = server.log.read_text().count('"status":401')
    for _ in range(20):
        with server.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(b"GET /api/v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n")
    server.request("GET", "/livez")
    assert server.log.read_text().count('"status":401') == before


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_a_probe_may_ask_for_the_head_alone(server: RunningServer, path: str):
    reply = server.request("HEAD", path)
    assert (reply.status, reply.body) == (200, b"")


def test_a_client_that_sends_before_it_reads_still_gets_its_answer(server: RunningServer):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", "/api/v1/embed", b" " * 20_000_000, {"content-type": "application/json"})
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["code"]) == (413, "request.too_large")
    connection.close()
