"""Where everything is."""

from django.contrib import admin
from django.urls import path
from rest_framework_simplejwt.views import (
    TokenBlacklistView,
    TokenObtainPairView,
    TokenRefreshView,
)

from shop import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("healthz", views.healthz),
    path("public/echo", views.public_echo),
    path("api/token/", TokenObtainPairView.as_view()),
    path("api/token/refresh/", TokenRefreshView.as_view()),
    path("api/token/blacklist/", TokenBlacklistView.as_view()),
    path("api/me/", views.Me.as_view()),
    path("api/orders/", views.Orders.as_view()),
    path("api/echo/", views.Echo.as_view()),
    path("api/upload/", views.Upload.as_view()),
    path("api/download/", views.Download.as_view()),
]
