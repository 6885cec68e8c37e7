"""What the text of a user agent, of an operating system and of a URL names; each remembered, for texts repeat.

Source of the marks: the product tokens that browsers send (RFC 9110, section 10.1.5) and the brands of client hints.
"""

from functools import lru_cache
from typing import Final

AGENTS_MAX: Final = 4_096  # user agents remembered, of each question
PAGES_MAX: Final = 16_384
OTHER: Final = "other"

# Of the first mark that a text holds, the name. Order matters: most browsers also claim to be the ones below them.
_BROWSERS: Final = (
    ("edg", "edge"), ("opr/", "opera"), ("opera", "opera"), ("opios/", "opera"), ("samsung", "samsung"),
    ("firefox", "firefox"), ("fxios/", "firefox"), ("chrom", "chrome"), ("crios/", "chrome"), ("safari", "safari"),
)  # fmt: skip
_SYSTEMS: Final = (
    ("windows", "windows"), ("iphone", "ios"), ("ipad", "ios"), ("ipod", "ios"), ("android", "android"),
    ("apple tv", "tvos"), ("appletv", "tvos"), ("cros ", "chromeos"), ("tizen", "tizen"), ("web0s", "webos"),
    ("webos", "webos"), ("roku", "roku"), ("macintosh", "macos"), ("mac os", "macos"), ("linux", "linux"),
    ("x11", "linux"),
)  # fmt: skip
# The beginnings of what device.os is given as; what begins with none of them stays as it is, in lower case.
_GIVEN_SYSTEMS: Final = (
    ("ios", "ios"), ("iphone", "ios"), ("ipad", "ios"), ("android", "android"), ("win", "windows"), ("mac", "macos"),
    ("os x", "macos"), ("osx", "macos"), ("darwin", "macos"), ("tvos", "tvos"), ("chrome", "chromeos"),
    ("cros", "chromeos"), ("linux", "linux"), ("ubuntu", "linux"), ("tizen", "tizen"), ("webos", "webos"),
    ("roku", "roku"),
)  # fmt: skip


@lru_cache(maxsize=AGENTS_MAX)
def kind_of(ua: str) -> str:
    """The kind of device a user agent names, where devicetype is not given; "" when it names none."""
    if not ua:
        return ""
    low = ua.lower()
    if "ipad" in low or "tablet" in low or ("android" in low and "mobile" not in low and "tv" not in low):
        return "tablet"
    if "mobi" in low or "iphone" in low:
        return "phone"
    if "tv" in low or "roku" in low or "playstation" in low or "xbox" in low:
        return "ctv"
    return "desktop" if "windows" in low or "macintosh" in low or "linux" in low or "x11" in low else OTHER


@lru_cache(maxsize=AGENTS_MAX)
def browser_of(ua: str) -> str:
    """The browser a user agent names; "other" for one that is none of ours, "" for an empty text."""
    low = ua.lower()
    return next((name for mark, name in _BROWSERS if mark in low), OTHER if low.strip() else "")


def browser_of_brands(brands: tuple[str, ...]) -> str:
    """The browser that a list of brands names, as client hints give it; "" when it names none of ours."""
    low = [brand.lower() for brand in brands]
    return next((name for mark, name in _BROWSERS if any(mark in brand for brand in low)), "")


@lru_cache(maxsize=AGENTS_MAX)
def system_of(os: str, ua: str) -> str:
    """The operating system, lower case, by its given name, else by the user agent; "" when neither names one."""
    given = " ".join(os.lower().split())
    if given:
        return next((name for mark, name in _GIVEN_SYSTEMS if given.startswith(mark)), given)
    low = ua.lower()
    return next((name for mark, name in _SYSTEMS if mark in low), "")


@lru_cache(maxsize=PAGES_MAX)
def host_of(page: str) -> str:
    """The host of a page's URL, lower case; "" when there is none."""
    rest = page.partition("//")[2] or page
    host = rest.partition("/")[0].partition("?")[0].partition("#")[0].rpartition("@")[2].partition(":")[0]
    return host.lower() if "." in host else ""
