"""A gRPC client of grpcio: every kind of call through the gateway, and what goes wrong."""
import queue
import sys
import time

import grpc

address, ca, token = sys.argv[1:4]
with open(ca, "rb") as file:
    credentials = grpc.ssl_channel_credentials(root_certificates=file.read())
channel = grpc.secure_channel(address, credentials)
good = (("authorization", "Bearer " + token), ("x-user", "root"))


def says(name, call, code, text=None):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, (name, error)
        assert text is None or text in error.details(), (name, error)
        return error
    raise AssertionError(name + " passed")


unary = channel.unary_unary("/test.Echo/Unary")
answer, call = unary.with_call(b"hello", metadata=good)
assert answer == b"hello|ada", answer
assert dict(call.initial_metadata())["x-initial"] == "first"
trailing = dict(call.trailing_metadata())
assert trailing["x-last"] == "one" and trailing["x-last-bin"] == b"\x00\x01", trailing
big = b"x" * (3 << 20)
assert unary(big, metadata=good) == big + b"|ada"

stream = channel.unary_stream("/test.Echo/ServerStream")(b"1000", metadata=good)
assert [int(one) for one in stream] == list(range(1000))
assert dict(stream.trailing_metadata())["x-last"] == "streamed"

pieces = (b"y" * 1000 for _ in range(1000))
assert channel.stream_unary("/test.Echo/ClientStream")(pieces, metadata=good) == b"1000000"


answers = channel.stream_stream("/test.Echo/Both")(iter([b"a", b"b"]), metadata=good)
assert list(answers) == [b"a", b"b"]
out = queue.Queue()
answers = channel.stream_stream("/test.Echo/Both")(iter(out.get, None), metadata=good)
for number in range(200):
    out.put(str(number).encode())
    assert next(answers) == str(number).encode()
# Longer than any body may rest elsewhere here.
time.sleep(1.5)
out.put(b"late")
assert next(answers) == b"late"
out.put(None)
assert list(answers) == []

code = grpc.StatusCode
error = says("fail", lambda: channel.unary_unary("/test.Echo/Fail")(b"", metadata=good), code.FAILED_PRECONDITION, "not äs it should be")
assert dict(error.trailing_metadata())["x-why"] == "told"
says("method", lambda: channel.unary_unary("/test.Echo/Nothing")(b"", metadata=good), code.UNIMPLEMENTED)
says("route", lambda: channel.unary_unary("/test.Other/X")(b"", metadata=good), code.UNIMPLEMENTED, "no_route")
says("token", lambda: unary(b"x"), code.UNAUTHENTICATED, "token_missing")
bad = (("authorization", "Bearer " + token[:-4] + "AAAA"),)
says("bad token", lambda: unary(b"x", metadata=bad), code.UNAUTHENTICATED, "bad_signature")
says("scope", lambda: channel.unary_unary("/admin.Echo/Unary")(b"x", metadata=good), code.PERMISSION_DENIED, "insufficient_scope")
says("gone", lambda: channel.unary_unary("/gone.Echo/Unary")(b"x", metadata=good), code.UNAVAILABLE, "upstream_refused")
says("slow", lambda: channel.unary_unary("/slow.Echo/Unary")(b"x", metadata=good), code.DEADLINE_EXCEEDED, "upstream_timeout")
says("once", lambda: channel.unary_unary("/limited.Echo/X")(b"x", metadata=good), code.UNIMPLEMENTED)
says("limit", lambda: channel.unary_unary("/limited.Echo/X")(b"x", metadata=good), code.RESOURCE_EXHAUSTED, "rate_limited")

# A deadline that passes is heard by the server at once.
says("deadline", lambda: channel.unary_unary("/test.Echo/Stall")(b"", timeout=0.5, metadata=good), code.DEADLINE_EXCEEDED)
assert channel.unary_unary("/test.Echo/WasCancelled")(b"", metadata=good) == b"yes"
print("all kinds of calls passed")
