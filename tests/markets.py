"""Configs that tests share, as TOML."""

RULES = ("truthful", "linear", "paced", "shaded")
SEGMENTS = ("urban", "sports", "travel", "families", "tech", "news", "food", "homeowner")
SIZES = ((300, 250), (728, 90), (320, 50), (160, 600), (970, 250))
KNOBS = {
    "truthful": "{}",
    "linear": "{ factor = 0.85 }",
    "paced": "{ step = 2e-7, target_nano = 400_000 }",
    "shaded": "{ shade = 0.9, rate = 0.01 }",
}


def eight_rules(ledger: str, extra: str = "", server: str = "", listed: object = "") -> str:
    """Eight advertisers with one campaign each, four rules twice; budgets, caps, lists, bills, all media."""
    text = f"""
[exchange]
ledger = "{ledger}"
seed = 11
{extra}
[server]
address = "127.0.0.1:0"
hold_s = 60
{server}
[auction]
increment_cpm = 0.01
[fees]
sell = "isba2020"
buy = "isba2020"
[rates]
USD = 0.92
[population]
people = 1500
placements = 60
qps = 0.2
start = "2026-01-05T18:00:00Z"
view_delay_ms = 40_000
click_delay_ms = 55_000
view_rate = 0.8
ctr = 0.05
cvr = 0.4
conversion_delay_ms = 150_000
"""
    for i in range(8):
        rule, segment = RULES[i % 4], SEGMENTS[i]
        own = ["", " and not own", " and own"][i % 3] if i > 3 else ""
        text += f"""
[[advertiser]]
name = "adv{i}"
domains = ["adv{i}.example"]
own_share = {0.1 * (i % 4)}
own_list = "{listed if i == 5 else ""}"
holdout = {0.25 if i in (2, 6) else 0}
[[advertiser.campaign]]
name = "c{i}"
rule = "{rule}"
knobs = {KNOBS[rule]}
target = "seg one of [{segment}, {"loyal" if i == 2 else "gaming"}] and country in [FR, DE, GB, ES]{own}"
value_cpm = {1.5 + 0.5 * i}
factors = {{ income_high = 1.5, students = 0.6 }}
budget = {(400.0, 0.9, 2.5)[i % 3]}
daily = {(300.0, 0.7, 2.0)[i % 3]}
cap = {{ day = 4, total = 9{", hour = 2, week = 7, campaign = 8" if i in (0, 6) else ""} }}
bill = "{("impression", "impression", "click", "conversion", "impression")[i % 5]}"
pacing = "{"even" if i in (3, 5) else "fast"}"
"""
        for w, h in SIZES:
            text += _creative(f"b{w}", "banner", w, h)
        if i % 2:
            text += _creative("turn", "banner", 300, 250) + "weight = 3\n"
        for media in ("video", "audio", "native"):
            text += _creative(media, media, 640, 360)
    return text


def _creative(ident: str, media: str, w: int, h: int) -> str:
    ending = {"banner": "png", "native": "png", "video": "mp4", "audio": "mp3"}[media]
    return f"""
[[advertiser.campaign.creative]]
id = "{ident}"
type = "{media}"
w = {w}
h = {h}
image = "https://cdn.example/{ident}.{ending}"
landing = "https://landing.example/{ident}"
"""
