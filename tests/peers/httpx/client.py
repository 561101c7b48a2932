"""httpx over HTTP/1.1 and HTTP/2: fetches, posts and streams."""
import ssl
import sys

import httpx

url, ca = sys.argv[1:3]
lines = [str(number) for number in range(1000)]


def pieces():
    for _ in range(200):
        yield b"x" * 5000


for http2 in (False, True):
    context = ssl.create_default_context(cafile=ca)
    with httpx.Client(http1=not http2, http2=http2, verify=context, timeout=60) as client:
        answer = client.get(url + "/x")
        assert (answer.status_code, answer.text) == (200, "0 bytes\n"), answer
        assert client.post(url + "/x", content=b"x" * 1_000_000).text == "1000000 bytes\n"
        assert client.post(url + "/x", content=pieces()).text == "1000000 bytes\n"
        with client.stream("GET", url + "/stream") as answer:
            assert list(answer.iter_lines()) == lines
        print(answer.http_version)
