"""The colours of a page's style sheet, as an eye measures them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ray_mentor.report.page.style import CSS


@dataclass(frozen=True)
class Colour:
    """Linear light of red, green and blue."""

    light: tuple[float, float, float]

    @property
    def luminance(self) -> float:
        return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), self.light, strict=True))

    def contrast(self, other: Colour) -> float:
        """WCAG's, from 1 to 21."""
        low, high = sorted((self.luminance, other.luminance))
        return (high + 0.05) / (low + 0.05)

    def apart(self, other: Colour) -> float:
        """ΔE of 1976 in L*a*b* under D65."""
        return sum((a - b) ** 2 for a, b in zip(self._lab(), other._lab(), strict=True)) ** 0.5

    def _lab(self) -> tuple[float, float, float]:
        red, green, blue = self.light
        x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
        z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089
        x, y, z = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in (x, self.luminance, z))
        return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def themes() -> dict[str, dict[str, Colour]]:
    """The named colours in light and in dark."""
    light, dark = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    own = {"light": _named(light), "dark": _named(dark)}
    return {"light": own["light"], "dark": {**own["light"], **own["dark"]}}


def _named(sheet: str) -> dict[str, Colour]:
    return {name: _colour(digits) for name, digits in re.findall(r"(--[a-z-]+): #([0-9a-f]{6})", sheet)}


def _colour(digits: str) -> Colour:
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return Colour((red, green, blue))
