"""Signed links: one token per award serves the links `/i?t=` (impression), `/c?t=` (click), `/t?t=` (conversion),
`/o?t=` (opt in) and `/u?t=` (opt out) alike, and names the award in `POST /events`.

A token is 27 bytes of award and 12 bytes of keyed BLAKE2b, base64url: 52 characters, no padding and no spare bits, so
that exactly one text stands for each award. Nothing in it is secret; nobody without the key can make or change one.
Source: RFC 7693 (BLAKE2).
"""

import binascii
import struct
from hashlib import blake2b
from hmac import compare_digest
from typing import Final, NamedTuple

_AWARD: Final = struct.Struct("<QqIiHB")
_DIGEST: Final = 12
_TOKEN: Final = (_AWARD.size + _DIGEST) // 3 * 4
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_+/", b"+/!!")  # what base64 proper writes is not a token of ours


class BadToken(ValueError):  # noqa: N818 - named for what it is, not for what it does
    """A link that is not to be honoured; `reason` is one of metrics.LINK_REFUSALS."""

    def __init__(self, reason: str) -> None:
        """Keep the reason: malformed, forged or expired."""
        super().__init__(f"link {reason}")
        self.reason = reason


class Award(NamedTuple):
    """What a token says: which award, which creative, and until when it may be used."""

    auction_id: int  # u64
    serial: int  # i64, award serial
    expires_s: int  # unix seconds, u32
    creative: int  # i32, -1 = none of ours
    imp_ix: int  # u16
    slot: int  # u8


class Links:
    """Makes and reads the tokens of links under one key."""

    __slots__ = ("_keyed", "click", "conversion", "impression", "opt_in", "opt_out")

    def __init__(self, key: bytes, public_url: str) -> None:
        """`key` has 16 to 64 bytes; `public_url` is how browsers reach us. Raises ValueError otherwise."""
        if not 16 <= len(key) <= 64:
            raise ValueError(f"link key: expected 16 to 64 bytes, got {len(key)}")
        self._keyed = blake2b(digest_size=_DIGEST, key=key, person=b"rentier link")
        self.publish(public_url)

    def publish(self, public_url: str) -> None:
        """Say how browsers reach us; `impression`, `click` and the others are the URLs up to the token."""
        base = public_url.rstrip("/")
        self.impression, self.click, self.conversion = f"{base}/i?t=", f"{base}/c?t=", f"{base}/t?t="
        self.opt_in, self.opt_out = f"{base}/o?t=", f"{base}/u?t="

    def macros(self, token: str) -> dict[str, str]:
        """What stands in markup for the macros of the award of a token: its links, and the token itself."""
        return {
            "IMPRESSION_URL": self.impression + token,
            "CLICK_URL": self.click + token,
            "CONVERSION_URL": self.conversion + token,
            "OPT_IN_URL": self.opt_in + token,
            "OPT_OUT_URL": self.opt_out + token,
            "AWARD_TOKEN": token,
        }

    def token(self, auction_id: int, serial: int, imp_ix: int, slot: int, creative: int, expires_s: int) -> str:
        """Return the token of one award; raises struct.error when a field does not fit its width."""
        award = _AWARD.pack(auction_id, serial, expires_s, creative, imp_ix, slot)
        signer = self._keyed.copy()
        signer.update(award)
        return binascii.b2a_base64(award + signer.digest(), newline=False).translate(_TO_URL).decode("ascii")

    def read(self, token: bytes | str, now_s: int = 0) -> Award:
        """Return what a token says; raises BadToken unless it is ours and not older than `expires_s`.

        now_s: 0 = however old, for those who may say what became of an award long after its links have expired.
        """
        if isinstance(token, str):
            token = token.encode("ascii", "replace")
        if len(token) != _TOKEN:
            raise BadToken("malformed")
        try:
            signed = binascii.a2b_base64(token.translate(_FROM_URL), strict_mode=True)
        except binascii.Error:
            raise BadToken("malformed") from None
        if len(signed) != _AWARD.size + _DIGEST:
            raise BadToken("malformed")
        signer = self._keyed.copy()
        signer.update(signed[: _AWARD.size])
        if not compare_digest(signer.digest(), signed[_AWARD.size :]):
            raise BadToken("forged")
        award = Award(*_AWARD.unpack_from(signed))
        if now_s > award.expires_s:
            raise BadToken("expired")
        return award

    def impression_url(self, token: str) -> str:
        """Where the browser reports that the ad was shown."""
        return self.impression + token

    def click_url(self, token: str) -> str:
        """Where a click goes, to be redirected to the landing page."""
        return self.click + token
