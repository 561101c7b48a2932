"""Tokens that say what their holder may do."""

from rest_framework_simplejwt.serializers import TokenObtainPairSerializer


class ScopedTokenSerializer(TokenObtainPairSerializer):
    """Adds the user's name, and `scope`: the gateway and the views both ask for it."""

    @classmethod
    def get_token(cls, user):
        token = super().get_token(user)
        token["username"] = user.get_username()
        token["scope"] = "orders:read orders:write" if user.is_staff else "profile"
        return token
