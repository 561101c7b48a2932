"""A Django project of one view, behind the middleware of docs/assertion.md."""

import os

from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    MIDDLEWARE=["portcullis_assertion.AssertionMiddleware"],
    PORTCULLIS_JWKS=os.environ["JWKS"],
    PORTCULLIS_AUDIENCE="app",
    ROOT_URLCONF=__name__,
    SECRET_KEY="not used for anything",
)

from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import re_path


def who(request):
    return JsonResponse({
        "principal": request.principal,
        "assertion": request.headers.get("X-Portcullis-Assertion"),
    })


urlpatterns = [re_path("", who)]
application = get_wsgi_application()
