"""A gRPC server of grpcio with a method of every kind, over bytes."""
import sys
import threading
from concurrent import futures

import grpc

SERVICE = "test.Echo"
cancelled = threading.Event()


def metadata(context):
    return dict(context.invocation_metadata())


def unary(request, context):
    context.send_initial_metadata((("x-initial", "first"),))
    context.set_trailing_metadata((("x-last", "one"), ("x-last-bin", b"\x00\x01")))
    seen = metadata(context)
    return request + b"|" + seen.get("x-user", "nobody").encode()


def server_stream(request, context):
    for number in range(int(request)):
        yield str(number).encode()
    context.set_trailing_metadata((("x-last", "streamed"),))


def client_stream(requests, context):
    return str(sum(len(one) for one in requests)).encode()


def both(requests, context):
    for one in requests:
        yield one


def fail(request, context):
    context.set_trailing_metadata((("x-why", "told"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not äs it should be")


def stall(request, context):
    context.add_callback(cancelled.set)
    cancelled.wait(60)
    return b"never"


def was_cancelled(request, context):
    return b"yes" if cancelled.wait(30) else b"no"


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "Both": grpc.stream_stream_rpc_method_handler(both),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Stall": grpc.unary_unary_rpc_method_handler(stall),
    "WasCancelled": grpc.unary_unary_rpc_method_handler(was_cancelled),
}

server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, HANDLERS),))
if sys.argv[1:] and sys.argv[1].startswith("unix:"):
    server.add_insecure_port(sys.argv[1])
    port = 0
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
sys.stdin.read()
server.stop(0)
