"""Names for a labeler's tasks that tell nothing about them.

The numbers of tasks would: a hidden repeat is made at the moment it is handed out, and tasks with
a known answer were made together. So the page names a task by its number, encrypted for the one
labeler: the same name each time (drafts find their task again), readable by the server after a
restart, and by nobody else. This hides numbers and does nothing more; what a labeler may touch is
checked in `annotate.actions` against what they were given.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from data.store import Store

_SETTING = "desk_secret"
_HALF = 8  # bytes


def secret_of(store: Store, labeler_id: int) -> bytes:
    """The key of one labeler's names; made once for a workspace."""
    with store.database.write():
        text = store.setting(_SETTING)
        if text is None:
            text = secrets.token_hex(32)
            store.put_setting(_SETTING, text)
    return _keyed(bytes.fromhex(text), b"labeler", labeler_id.to_bytes(_HALF, "big"))


def seal(secret: bytes, task_id: int) -> str:
    """A task's name: 32 hexadecimal digits.

    The initial value is derived from what is encrypted, and so authenticates it (as in RFC 5297).
    """
    plain = task_id.to_bytes(_HALF, "big")
    start = _keyed(secret, b"start", plain)[:_HALF]
    return (start + _xor(plain, _keyed(secret, b"pad", start))).hex()


def unseal(secret: bytes, name: str) -> int | None:
    """The task of a name; None if the name was not made with this secret."""
    try:
        raw = bytes.fromhex(name)
    except ValueError:
        return None
    if len(raw) != 2 * _HALF:
        return None
    start, hidden = raw[:_HALF], raw[_HALF:]
    plain = _xor(hidden, _keyed(secret, b"pad", start))
    if not hmac.compare_digest(start, _keyed(secret, b"start", plain)[:_HALF]):
        return None
    return int.from_bytes(plain, "big")


def owner_of(secret: bytes) -> str:
    """A name for the labeler's corner of the browser's storage, which several people may share."""
    return _keyed(secret, b"owner", b"").hex()[:16]


def _keyed(key: bytes, use: bytes, message: bytes) -> bytes:
    return hmac.new(key, use + b"/" + message, hashlib.sha256).digest()


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=False))
