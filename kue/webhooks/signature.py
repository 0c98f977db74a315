"""Signatures by Standard Webhooks 1.0 (https://www.standardwebhooks.com): HMAC-SHA256 with a shared secret. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence

from ..errors import InvalidJob

PREFIX = "whsec_"
#: Bytes of a secret: new ones, and the minimum and maximum allowed by Standard Webhooks.
NEW_BYTES, MIN_BYTES, MAX_BYTES = 32, 24, 64


def new_secret() -> str:
    """Return a random secret."""
    return PREFIX + base64.b64encode(secrets.token_bytes(NEW_BYTES)).decode()


def check_secret(secret: object) -> str:
    """Return the stored form of a secret. Raises InvalidJob, whose message never repeats it."""
    try:
        if not isinstance(secret, str):
            raise ValueError
        size = len(base64.b64decode(secret.removeprefix(PREFIX), validate=True))
    except (ValueError, binascii.Error):
        size = 0
    if not isinstance(secret, str) or not MIN_BYTES <= size <= MAX_BYTES:
        raise InvalidJob(
            f"a webhook's secret must be {PREFIX} followed by {MIN_BYTES} to {MAX_BYTES} bytes in base64; leave it "
            "out to generate one"
        )
    return PREFIX + secret.removeprefix(PREFIX)


def headers(message_id: str, timestamp_s: int, body: bytes, with_secrets: Sequence[str]) -> dict[str, str]:
    """Return a message's headers, with one signature per secret, so that a receiver may use either."""
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    found = []
    for secret in with_secrets:
        key = base64.b64decode(secret.removeprefix(PREFIX))
        found.append("v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode())
    return {"webhook-id": message_id, "webhook-timestamp": str(timestamp_s), "webhook-signature": " ".join(found)}
