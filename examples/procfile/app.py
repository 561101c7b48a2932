"""The smallest application there is: it says who asks, as the gateway has told it."""


def app(environ, start_response):
    user = environ.get("HTTP_X_USER", "nobody")
    scheme = environ.get("HTTP_X_FORWARDED_PROTO", "?")
    body = f"{environ['PATH_INFO']} for {user} over {scheme}\n".encode()
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]
