"""What a WSGI application sees, told to whoever asks."""

import json


def application(environ, start_response):
    if environ["PATH_INFO"].endswith("/large"):
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return (bytes([piece % 251]) * 65536 for piece in range(256))
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    told = {
        "script_name": environ["SCRIPT_NAME"],
        "path_info": environ["PATH_INFO"],
        "length": environ.get("CONTENT_LENGTH"),
        "chunked": environ.get("HTTP_TRANSFER_ENCODING"),
        "read": len(body),
    }
    answer = json.dumps(told).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]
