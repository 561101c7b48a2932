"""Reads raw requests with three parsers that know nothing of each other, and says what each saw.

Standard input: a JSON list of base64 texts, each everything that came over one connection.
Standard output: for each, for each parser, its requests as [method, target, body], how many bytes
it left, and what it found wrong.
"""

import base64
import json
import sys

import h11
import httptools
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser


def by_h11(raw):
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(raw)
    connection.receive_data(b"")
    requests, head, body = [], None, b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            head, body = event, b""
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            if event.headers:
                raise ValueError("trailers")
            requests.append((head.method, head.target, body))
            break
        else:
            raise EOFError(repr(event))
    return requests, len(connection.trailing_data[0])


class Seen:
    def __init__(self):
        self.requests, self.url, self.body = [], b"", b""

    def on_message_begin(self):
        self.url, self.body = b"", b""

    def on_url(self, url):
        self.url += url

    def on_body(self, body):
        self.body += body

    def on_message_complete(self):
        self.requests.append((self.parser.get_method(), self.url, self.body))


def by_httptools(raw):
    seen = Seen()
    seen.parser = httptools.HttpRequestParser(seen)
    seen.parser.feed_data(raw)
    if not seen.requests:
        raise EOFError("incomplete")
    return seen.requests, 0


def by_gunicorn(raw):
    requests = []
    parser = RequestParser(Config(), iter([raw]), ("127.0.0.1", 1))
    for request in parser:
        body = request.body.read()
        declared = [value for name, value in request.headers if name == "CONTENT-LENGTH"]
        if declared and len(body) < int(declared[0]):
            raise EOFError("incomplete")
        requests.append((request.method.encode(), request.uri.encode("latin-1"), body))
    return requests, 0


def judged(parse, raw):
    try:
        requests, rest = parse(raw)
    except Exception as error:
        return {"requests": [], "rest": 0, "error": f"{type(error).__name__}: {error}"}
    text = lambda part: base64.b64encode(part).decode()
    return {"requests": [[text(part) for part in one] for one in requests], "rest": rest, "error": None}


PARSERS = {"h11": by_h11, "httptools": by_httptools, "gunicorn": by_gunicorn}
raws = [base64.b64decode(text) for text in json.load(sys.stdin)]
json.dump([{name: judged(parse, raw) for name, parse in PARSERS.items()} for raw in raws], sys.stdout)
