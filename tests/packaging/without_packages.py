"""Python as it is where only some packages are installed.

The others are hidden from imports, which is what an environment without them is to Python.
"""

from __future__ import annotations

import subprocess
import sys

CORE = ("torch", "numpy", "jaxtyping", "typing_extensions")
"""What the package depends on without an extra; below, what these load if it is there."""

_THEIRS = (
    "torchgen", "functorch", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "filelock", "fsspec", "setuptools",
    "wadler_lindig", "triton", "nvidia", "cuda", "packaging",
)  # fmt: skip

_HIDDEN = """
import sys

class Seen:
    '''Asks those who find modules only for what is there.'''

    finders = list(sys.meta_path)

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in SEEN and top not in sys.stdlib_module_names and not top.startswith("_"):
            return None
        return next((spec for each in self.finders if (spec := each.find_spec(name, path, target))), None)

    def find_distributions(self, context):
        return (found for each in self.finders for found in getattr(each, "find_distributions", lambda _: ())(context))

sys.meta_path[:] = [Seen()]
"""


def python_with(packages: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    """Runs code where only these packages, and what PyTorch needs, can be imported, and ray_mentor."""
    seen = {"ray_mentor", "tune_spaces", *packages, *_THEIRS}
    command = [sys.executable, "-c", f"SEEN = {seen!r}\n{_HIDDEN}\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
