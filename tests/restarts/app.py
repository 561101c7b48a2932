"""An application that notes every request that arrives, for WSGI and for ASGI."""

import asyncio
import os
import time


def note(*words):
    # One write to a file that is opened for appending: lines of many processes stay whole.
    with open(os.environ["ARRIVED"], "a") as arrived:
        arrived.write(" ".join(words) + f" {os.getpid()}\n")


def seen(path):
    with open(os.environ["ARRIVED"]) as arrived:
        return sum(f" {path} " in line for line in arrived)


def waits(path):
    """Whether this request is never answered: so the first of each `/once/`."""
    return path.startswith("/silent/") or (path.startswith("/once/") and seen(path) == 1)


def application(environ, start_response):
    path = environ["PATH_INFO"]
    note(environ["REQUEST_METHOD"], path)
    time.sleep(0.003)
    if waits(path):
        time.sleep(600)
    if path.startswith("/partly/"):
        framing = [("Content-Length", "200000")] if "length" in path else []
        start_response("200 OK", framing)
        return partly(path)
    body = path.encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def partly(path):
    yield b"x" * 100000
    # What came before has been written.
    note("BEGUN", path)
    time.sleep(600)


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    path = scope["path"]
    note(scope["method"], path)
    await asyncio.sleep(0.003)
    if waits(path):
        await asyncio.sleep(600)
    body = b"x" * 100000 if path.startswith("/partly/") else path.encode()
    length = 200000 if path.startswith("/partly/") else len(body)
    headers = [] if "chunked" in path else [(b"content-length", str(length).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if path.startswith("/partly/"):
        await send({"type": "http.response.body", "body": body, "more_body": True})
        note("BEGUN", path)
        await asyncio.sleep(600)
    await send({"type": "http.response.body", "body": body})
