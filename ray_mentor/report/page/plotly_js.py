"""plotly.js as a page carries it: gzipped, in base64, and opened by the browser; 2 MB in place of 4.8."""

from __future__ import annotations

import base64
import functools
import gzip

from plotly.offline import get_plotlyjs

from ray_mentor.report.page.html import script_source


@functools.cache
def packed() -> tuple[str, str]:
    """Its gzipped text in base64, and what a page's policy calls the script that comes out of it."""
    script = get_plotlyjs()
    return base64.b64encode(gzip.compress(script.encode(), 9, mtime=0)).decode(), script_source(script)
