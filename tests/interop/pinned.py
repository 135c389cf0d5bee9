"""A virtual environment with pinned packages from PyPI, kept in the cache folder.

use(packages) returns when the running interpreter is that of an environment
with exactly these packages; it makes the environment if it is missing and
starts the script again inside it.
"""
import os
import pathlib
import subprocess
import sys


def use(*packages):
    cache = os.environ.get("BATON_CACHE_DIR") or str(pathlib.Path.home() / ".cache" / "baton-host")
    name = "-".join(package.replace("==", "-") for package in packages)
    root = pathlib.Path(cache) / "python" / f"{name}-{sys.version_info[0]}.{sys.version_info[1]}"
    python = root / "bin" / "python"
    ready = root / "ready"
    if pathlib.Path(sys.prefix) == root:
        return
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(root)], check=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
            check=True,
            stdout=sys.stderr,
        )
        ready.touch()
    os.execv(str(python), [str(python), *sys.argv])
