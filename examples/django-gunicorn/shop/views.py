"""A protected view, one that asks for a scope, and what the gateway's tests look at."""

import hashlib

from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView


class CanReadOrders(BasePermission):
    """The token's scope names `orders:read`."""

    def has_permission(self, request, view):
        scope = request.auth.get("scope", "") if request.auth else ""
        return "orders:read" in scope.split()


class Me(APIView):
    """Whom the token speaks for."""

    def get(self, request):
        return Response({"user": request.user.get_username(), "id": request.user.pk})


class Orders(APIView):
    """Asks for a scope."""

    permission_classes = [IsAuthenticated, CanReadOrders]

    def get(self, request):
        return Response({"orders": [{"id": 1, "item": "portcullis, wrought iron"}]})


class Echo(APIView):
    """Says what arrived: the request's META and its body."""

    def get(self, request):
        return Response({"meta": _meta(request), "path": request.path})

    def post(self, request):
        body = request.body
        return Response(
            {
                "meta": _meta(request),
                "length": len(body),
                "sha256": hashlib.sha256(body).hexdigest(),
            }
        )


class Upload(APIView):
    """Takes one multipart file."""

    def post(self, request):
        sha256 = hashlib.sha256()
        length = 0
        for chunk in request.FILES["file"].chunks():
            sha256.update(chunk)
            length += len(chunk)
        return Response({"length": length, "sha256": sha256.hexdigest()})


class Download(APIView):
    """Sends `size` bytes that anyone can compute."""

    def get(self, request):
        size = min(int(request.GET.get("size", "1024")), 64 * 1024 * 1024)
        response = StreamingHttpResponse(_pattern(size), content_type="application/octet-stream")
        response["Content-Length"] = str(size)
        return response


def healthz(request):
    """Answers as long as the process does."""
    return HttpResponse("ok\n", content_type="text/plain")


def public_echo(request):
    """META as a request without a token sees it."""
    return JsonResponse({"meta": _meta(request), "path": request.path})


def _meta(request):
    return {key: value for key, value in sorted(request.META.items()) if isinstance(value, str)}


def _pattern(size):
    block = bytes(range(256)) * 256
    while size > 0:
        yield block[: min(size, len(block))]
        size -= len(block)
