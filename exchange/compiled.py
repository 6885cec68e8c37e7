"""Where compiled kernels are kept between processes.

numba's cache does not notice an edited callee in another module, so the folder's name is a hash of every
kernel source, the compiler, numpy and the machine: edit a kernel and everything compiles afresh, once.
Called when the package is imported, whether numba was before or not; a NUMBA_CACHE_DIR of the user is respected.
"""

import hashlib
import os
import platform
import sys
import tempfile
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def kernel_sources() -> list[Path]:
    """Every module of the package that compiles something, sorted."""
    return sorted(p for p in PACKAGE.rglob("*.py") if b"numba" in p.read_bytes())


def source_key() -> str:
    """Hash of the kernel sources and of all that the compiled code depends on."""
    digest = hashlib.blake2b(digest_size=10)
    for path in [*kernel_sources(), *sorted((PACKAGE / "market").glob("*.py"))]:
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    for part in (
        sys.version,
        version("numba"),
        version("llvmlite"),
        version("numpy"),
        platform.machine(),
        _cpu(),
    ):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def _cpu() -> str:
    """Model name of the processor: code compiled for one may not run on another."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "flags")):
                return line
    except OSError:
        return platform.processor()
    return platform.processor()


def cache_folder() -> Path:
    """Return the cache folder, made on first use: user cache, else a temporary folder that others share."""
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(given)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.path.expanduser("~")) / ".cache")
    for root in (base, Path(tempfile.gettempdir()) / f"rentier-{os.getuid()}"):
        folder = root / "rentier" / source_key()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            probe = folder / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError:
            continue
        return folder
    return Path(tempfile.mkdtemp(prefix="rentier-"))


def prepare() -> Path:
    """Point numba at the cache folder. Returns the folder."""
    folder = cache_folder()
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba.core.config" in sys.modules:  # imported before us, it has read the environment already
        sys.modules["numba.core.config"].CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    return folder


def without_scipy() -> None:
    """Load the compiler's array functions without SciPy, whose BLAS they look for: it takes as long as a report does.

    For a process whose kernels multiply no matrices: what does cannot be compiled afterwards.
    """
    wanted = "scipy.linalg.cython_blas"
    if "numba.np.arraymath" in sys.modules or wanted in sys.modules:
        return
    sys.modules[wanted] = None  # type: ignore[assignment]  # an import of it fails, as where there is no SciPy
    try:
        import_module("numba.np.arraymath")
    finally:
        del sys.modules[wanted]


def is_cold() -> bool:
    """True when nothing has been compiled into the cache folder yet."""
    return not any(cache_folder().rglob("*.nbi"))
