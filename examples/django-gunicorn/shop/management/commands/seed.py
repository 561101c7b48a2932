"""`manage.py seed`: two users, one of them staff."""

import os

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Creates the users alice (staff) and bob, with the password of SHOP_PASSWORD."

    def handle(self, *args, **options):
        password = os.environ.get("SHOP_PASSWORD", "portcullis")
        users = get_user_model().objects
        if not users.filter(username="alice").exists():
            users.create_superuser("alice", "alice@example.com", password)
        if not users.filter(username="bob").exists():
            users.create_user("bob", "bob@example.com", password)
        self.stdout.write("users: alice (staff), bob")
