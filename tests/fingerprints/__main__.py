"""`python -m tests.fingerprints`: write the fingerprint of every built-in rule anew, and remove those of none."""

from exchange import bidding
from tests.fingerprints import FOLDER, fingerprint, path_of, text

if __name__ == "__main__":
    names = list(bidding.library())
    for stale in set(FOLDER.glob("*.json")) - {path_of(name) for name in names}:
        stale.unlink()
        print(f"removed {stale.name}")
    for name in names:
        new = text(fingerprint(name)) + "\n"
        path = path_of(name)
        if not path.exists() or path.read_text(encoding="utf-8") != new:
            path.write_text(new, encoding="utf-8")
            print(f"wrote {path.name}")
