"""BLAKE2b (RFC 7693), by which rows, files and settings are told from others."""

from __future__ import annotations

from _blake2 import blake2b  # `hashlib` loads OpenSSL besides, a fiftieth of an idle run

__all__ = ["blake2b"]
