"""The parts of an OpenRTB bid request that the exchange reads.

The Structs are lean on purpose: a field stands here because it is read, or because a nonsensical value in it
must be refused. Everything else is skipped by the decoder and survives in the original bytes
(`encode.forward`). The types carry the rules, so that the C decoder enforces them in the same pass:
ranges and lengths by `Meta`, and two marks that only the slow path (`coerce.py`) reads:

- `must`: the auction needs this field; a value that cannot be understood refuses the request. Without the
  mark it would be dropped and counted.
- `exact`: never converted from another JSON type (a consent that is not a text proves nothing).

Lists are tuples: shared when empty, and not tracked by the garbage collector's cycles. Source: OpenRTB
2.6-202606, section 3.2.
"""

from typing import Annotated

from msgspec import Meta, Struct

from exchange.openrtb.kinds import (
    AS_JSON,
    INT_MAX,
    LIST_MAX,
    MUST,
    Amount,
    Code,
    Consent,
    Count,
    Counts,
    Cpm,
    FewWords,
    Flag,
    Id,
    LongText,
    Mimes,
    NeedCount,
    NeedCounts,
    Pixels,
    Signed,
    Text,
    Words,
)

# ---- bid request: what is for sale -----------------------------------------------------------------------


class Format(Struct, gc=False):
    """One size a banner may have (3.2.10): fixed w and h, or a ratio with a least width. Device-independent px."""

    w: Pixels = 0
    h: Pixels = 0
    wratio: Count = 0
    hratio: Count = 0
    wmin: Count = 0


class Banner(Struct, gc=False):
    """A banner slot (3.2.6). `w`, `h` in px, or `format`; the deprecated wmin..hmax bound a flexible size."""

    w: Pixels = 0
    h: Pixels = 0
    format: Annotated[tuple[Format, ...], Meta(max_length=LIST_MAX)] = ()
    btype: Counts = ()
    battr: NeedCounts = ()
    pos: Count | None = None  # 0 = unknown is an answer, too
    topframe: Count = 0
    vcm: Count = 0
    wmin: Count = 0
    wmax: Count = 0
    hmin: Count = 0
    hmax: Count = 0


class Video(Struct, gc=False):
    """A video slot (3.2.7); durations in seconds, bit rates in Kbps. `mimes` is required."""

    mimes: Mimes
    w: Pixels = 0
    h: Pixels = 0
    minduration: Count = 0
    maxduration: Count = 0
    poddur: Count = 0
    maxseq: Count = 0
    startdelay: Signed = 0
    battr: NeedCounts = ()
    protocols: Counts = ()
    protocol: Count = 0
    rqddurs: Counts = ()
    mincpmpersec: Amount = 0.0
    minbitrate: Count = 0
    maxbitrate: Count = 0
    sequence: Count = 0
    skip: Count = 0
    skipmin: Count = 0
    skipafter: Count = 0
    maxextended: Annotated[int, Meta(ge=-1, le=INT_MAX)] = 0  # -1 = no limit
    boxingallowed: Count = 1
    placement: Count = 0
    plcmt: Count = 0
    linearity: Count = 0
    playbackend: Count = 0
    pos: Count | None = None


class Audio(Struct, gc=False):
    """An audio slot (3.2.8); durations in seconds, bit rates in Kbps. `mimes` is required."""

    mimes: Mimes
    minduration: Count = 0
    maxduration: Count = 0
    poddur: Count = 0
    maxseq: Count = 0
    startdelay: Signed = 0
    battr: NeedCounts = ()
    protocols: Counts = ()
    rqddurs: Counts = ()
    mincpmpersec: Amount = 0.0
    minbitrate: Count = 0
    maxbitrate: Count = 0
    sequence: Count = 0
    maxextended: Annotated[int, Meta(ge=-1, le=INT_MAX)] = 0
    feed: Count = 0
    stitched: Count = 0
    nvol: Count = 0


class Native(Struct, gc=False):
    """A native slot (3.2.9); `request` is the Native Ads 1.2 request as a text of JSON (native.py)."""

    request: Annotated[str, Meta(min_length=1, max_length=65_536), AS_JSON]
    battr: NeedCounts = ()


class Deal(Struct, gc=False):
    """A deal between seller and buyer (3.2.12). `bidfloorcur` does not inherit the imp's."""

    id: Id
    bidfloor: Cpm = 0.0
    bidfloorcur: Code = "USD"
    at: Annotated[int, Meta(ge=0, le=INT_MAX), MUST] = 0  # 0 = as the request; 3 = bidfloor is the agreed price
    wseat: Words = ()
    wadomain: Words = ()
    guar: Count = 0


class Pmp(Struct, gc=False):
    """The deals on an imp (3.2.11); `private_auction` 1 = only bids on these deals."""

    private_auction: NeedCount = 0
    deals: Annotated[tuple[Deal, ...], Meta(max_length=LIST_MAX)] = ()


class Qty(Struct, gc=False):
    """How many impressions one play is (3.2.31), for out-of-home screens."""

    multiplier: Annotated[float, Meta(gt=0, le=1e9), MUST] = 1.0


class Metric(Struct, gc=False):
    """One thing measured of the slot (3.2.5), such as `viewability`: a share, 0 to 1."""

    type: Text = ""
    value: float = 0.0  # no limits: some send -1 for unknown


class Imp(Struct, gc=False):
    """One impression for sale (3.2.4); `bidfloor` is CPM in `bidfloorcur`."""

    id: Id
    banner: Banner | None = None
    video: Video | None = None
    audio: Audio | None = None
    native: Native | None = None
    pmp: Pmp | None = None
    bidfloor: Cpm = 0.0
    bidfloorcur: Code = "USD"
    secure: NeedCount = 0
    instl: Count = 0
    tagid: Text = ""
    exp: Count = 0  # seconds between auction and impression
    rwdd: Count = 0
    ssai: Count = 0
    clickbrowser: Count = 0
    qty: Qty | None = None
    metric: Annotated[tuple[Metric, ...], Meta(max_length=LIST_MAX)] = ()


# ---- bid request: where, who, under which law --------------------------------------------------------------


class Publisher(Struct, gc=False):
    """Who owns the place (3.2.15)."""

    id: Text = ""
    domain: Text = ""


class Content(Struct, gc=False):
    """What the ad stands beside (3.2.16); `len` in seconds."""

    len: Count = 0
    livestream: Count = 0


class Site(Struct, gc=False):
    """A web site (3.2.13)."""

    id: Text = ""
    domain: Text = ""
    page: LongText = ""
    cat: FewWords = ()
    sectioncat: FewWords = ()
    pagecat: FewWords = ()
    publisher: Publisher | None = None
    content: Content | None = None
    mobile: Count = 0


class App(Struct, gc=False):
    """An app (3.2.14)."""

    id: Text = ""
    domain: Text = ""
    bundle: Text = ""
    cat: FewWords = ()
    sectioncat: FewWords = ()
    pagecat: FewWords = ()
    publisher: Publisher | None = None
    content: Content | None = None
    paid: Count = 0


class Dooh(Struct, gc=False):
    """A digital out-of-home screen (3.2.33)."""

    id: Text = ""
    domain: Text = ""
    publisher: Publisher | None = None
    venuetypetax: Count = 0


class Geo(Struct, gc=False):
    """A place (3.2.19): country as ISO 3166-1 alpha-3, utcoffset in minutes, accuracy in metres."""

    country: Text = ""
    region: Text = ""
    metro: Text = ""
    city: Text = ""
    utcoffset: Signed = 0
    accuracy: Count = 0
    lastfix: Count = 0
    type: Count = 0
    ipservice: Count = 0


class Brand(Struct, gc=False):
    """A browser or platform by name (3.2.30)."""

    brand: Text = ""


class Sua(Struct, gc=False):
    """The user agent in parts (3.2.29), as client hints give it."""

    browsers: Annotated[tuple[Brand, ...], Meta(max_length=LIST_MAX)] = ()
    platform: Brand | None = None


class Device(Struct, gc=False):
    """The device (3.2.18); `w`, `h` in physical px."""

    ua: LongText = ""
    sua: Sua | None = None
    devicetype: Count = 0
    geo: Geo | None = None
    ifa: Text = ""
    lmt: Flag = 0
    dnt: Flag = 0
    w: Count = 0
    h: Count = 0
    ppi: Count = 0
    pxratio: Amount = 0.0
    js: Count = 0
    os: Text = ""
    language: Text = ""
    langb: Text = ""  # IETF BCP 47; language or this
    carrier: Text = ""
    connectiontype: Count | None = None  # 0 = unknown is an answer, too


class Uid(Struct, gc=False):
    """One id of a person in an id system (3.2.28)."""

    id: Text = ""
    atype: Count = 0


class Eid(Struct, gc=False):
    """The ids of a person in one id system, named by its domain (3.2.27)."""

    source: Text = ""
    uids: Annotated[tuple[Uid, ...], Meta(max_length=LIST_MAX)] = ()


class Segment(Struct, gc=False):
    """One audience segment of a person (3.2.22)."""

    id: Text = ""
    name: Text = ""
    value: Text = ""


class Data(Struct, gc=False):
    """Segments from one data provider (3.2.21)."""

    segment: tuple[Segment, ...] = ()


class UserExt(Struct, gc=False):
    """user.ext: where OpenRTB 2.5 carried the consent text and the id systems."""

    consent: Consent = ""
    eids: Annotated[tuple[Eid, ...], Meta(max_length=LIST_MAX)] = ()


class User(Struct, gc=False):
    """The person (3.2.20)."""

    id: Text = ""
    buyeruid: Text = ""
    eids: Annotated[tuple[Eid, ...], Meta(max_length=LIST_MAX)] = ()
    data: Annotated[tuple[Data, ...], Meta(max_length=LIST_MAX)] = ()
    geo: Geo | None = None
    consent: Consent = ""
    ext: UserExt | None = None
    yob: Count = 0
    gender: Text = ""


class RegsExt(Struct, gc=False):
    """regs.ext: where OpenRTB 2.5 carried gdpr."""

    gdpr: Flag | None = None


class Regs(Struct, gc=False):
    """The law that applies (3.2.3); gdpr absent = unknown."""

    coppa: Flag = 0
    gdpr: Flag | None = None
    ext: RegsExt | None = None


class Source(Struct, gc=False):
    """Where the request came from (3.2.2)."""

    fd: Count = 0
    tid: Text = ""


class RentierExt(Struct, gc=False):
    """ext.rentier: the clock of tests and replays, ns since 1970; 0 = none."""

    now_ns: Annotated[int, Meta(ge=0, le=2**63 - 1), MUST] = 0


class RequestExt(Struct, gc=False):
    """ext of the request: only our own key is read."""

    rentier: RentierExt | None = None


class BidRequest(Struct, gc=False):
    """A bid request (3.2.1); `tmax` in ms, 0 = not given; `at` 0 = as the exchange is configured."""

    id: Id
    imp: Annotated[list[Imp], Meta(min_length=1)]
    site: Site | None = None
    app: App | None = None
    dooh: Dooh | None = None
    device: Device | None = None
    user: User | None = None
    regs: Regs | None = None
    source: Source | None = None
    at: NeedCount = 0
    tmax: NeedCount = 0
    test: NeedCount = 0
    cur: Words = ()
    wseat: Words = ()
    bseat: Words = ()
    badv: Words = ()
    bcat: Words = ()
    bapp: Words = ()
    allimps: Count = 0
    cattax: Count = 0
    ext: RequestExt | None = None
