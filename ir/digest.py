"""Digests: what tells one content from all others."""

from __future__ import annotations

try:  # hashlib takes it from here, but loads OpenSSL too, which lasts longer than reading a blob
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b


def digest(content: bytes | bytearray | memoryview) -> bytes:
    """32 bytes that no two contents share (BLAKE2b, RFC 7693)."""
    return blake2b(content, digest_size=32).digest()


def digest_of(*parts: str | bytes) -> str:
    """A digest of all parts, and of where one ends and the next begins, in hexadecimal."""
    contents = [
        part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part for part in parts
    ]
    return digest(b"".join(b"%d " % len(part) + part for part in contents)).hex()
