"""The first and the last part of a run's page: what ran, how it ended, under which settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ray_mentor.config import DataConfig
from ray_mentor.report.breakdown import bits_rows
from ray_mentor.report.page.document import copied
from ray_mentor.report.page.html import code, escaped
from ray_mentor.report.page.words import duration_text, figure_text, numbered
from ray_mentor.report.run.figures.curves import groups_figure
from ray_mentor.report.run.folder import Folder
from ray_mentor.report.terminal import closing_rows, look_wrong

_LONG = 1000  # characters of a note


_PLACES = {
    "accuracy-title": "accuracy",
    "groups-title": "by group",
    "shares-title": "shares of the sources",
    "belief-title": "how far labels are believed",
    "policy-title": "weight against loss",
    "suspicious": "suspicious samples",
    "settings": "settings",
}
_OF_WEIGHTS = frozenset({"belief-title", "policy-title"})


def head(folder: Folder, ended: str | None) -> str:
    """What ran, how it ended, and what the run has to say.

    Args:
        ended: why it was ended early, where that is known.
    """
    shade, verdict = _verdict(folder, ended)
    notes = "".join(f"<li>{escaped(note, _LONG)}</li>" for note in (folder.result or {}).get("notes", ()))
    return f"""<header>
<h1>{escaped(folder.name)}</h1>
<p>{_what(folder.settings)} In {code(folder.path)}.</p>
<p class="verdict {shade}"><b>How it ended.</b> {verdict}</p>
{f"<ul>{notes}</ul>" if notes else ""}
{_same(folder)}<nav aria-label="Parts of the page">{_places(folder)}</nav>
{_counts(folder)}
<p id="problems"></p>
<noscript><p>The figures are drawn by a script in this page, and scripts are switched off.</p></noscript>
</header>"""


def _same(folder: Folder) -> str:
    if folder.weigher is not None:
        return ""
    return "<p>All samples counted the same: there is no mentor, and there are no weights to look at.</p>\n"


def _places(folder: Folder) -> str:
    places = _PLACES | ({"accuracy-title": "bits per byte"} if bits_rows(folder.result or {}) else {})
    if not folder.mixture:
        del places["shares-title"]
    if groups_figure(folder) is None:
        del places["groups-title"]
    return " · ".join(
        f'<a href="#{place}">{says}</a>'
        for place, says in places.items()
        if folder.weigher is not None or place not in _OF_WEIGHTS
    )


def _what(settings: Mapping[str, Any]) -> str:
    told = [
        (f"method {escaped(settings['method'])}" if "method" in settings else ""),
        (f"student {escaped(settings['student'])}" if "student" in settings else "a student of one's own"),
        (f"on {escaped(settings['data'])}" if "data" in settings else "on data of one's own"),
        _noise_text(settings),
        numbered(int(settings.get("epochs", 0)), "epoch"),
        f"seed {escaped(settings.get('seed', '?'))}",
        (f"{escaped(settings['workers'])} workers" if settings.get("workers") else "in one process"),
    ]
    text = ", ".join(part for part in told if part)
    return f"{text[:1].upper()}{text[1:]}."


def _noise_text(settings: Mapping[str, Any]) -> str:
    """What was added; ``auto`` is said as what it came to."""
    noise = settings.get("noise")
    if noise == "auto" and "data" in settings:
        kind, rate = DataConfig(data=str(settings["data"])).resolved_noise
        noise = kind if kind == "none" else f"{kind}:{rate:g}"
    return "" if noise is None else "no added noise" if noise == "none" else f"noise {escaped(noise)}"


def _verdict(folder: Folder, ended: str | None) -> tuple[str, str]:
    done, planned = len(folder.metrics), int(folder.settings.get("epochs", 0))
    if folder.result is None:
        why = f" {escaped(ended, _LONG)}" if ended else ""
        return "worse", f"Not at its end: {done} of {numbered(planned, 'epoch')} are done.{why}"
    result = folder.result
    tested, trusted = result.get("test_accuracy"), result.get("trusted_accuracy")
    says = [f"test accuracy {figure_text(tested)}"] if tested is not None else []
    if trusted is not None:
        low, high = result["trusted_interval"]
        says.append(
            f"accuracy {trusted:.3f} on {result['trusted_held_out']} held-out trusted samples "
            f"(95 % interval {low:.3f} to {high:.3f})"
        )
    says += [f"{text} {name}" for name, text in _bits(result)]
    reached = " and ".join(says) or "no accuracy that was measured"
    seconds = duration_text(result.get("wall_seconds"))
    return "better", f"It came to its end, in {seconds}, with {reached}."


def _bits(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, form.format(value)) for name, value, form in bits_rows(result) if value is not None]


def _counts(folder: Folder) -> str:
    if folder.result is None:
        return ""
    rows = "".join(
        f"<tr><th scope='row'>{escaped(name)}</th><td>{escaped(text)}</td></tr>"
        for name, text in [*closing_rows(folder.result), *_wrong_row(folder.result)]
    )
    return f'<div class="wide" tabindex="0"><table id="closing"><tbody>{rows}</tbody></table></div>'


def _wrong_row(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    share = look_wrong(result)
    return [] if share is None else [("training labels that look wrong", share)]


def settings_section(folder: Folder) -> str:
    """The whole config with a button that copies it, and the versions."""
    versions = (folder.result or {}).get("versions") or {}
    said = "".join(f"<tr><th scope='row'>{escaped(name)}</th><td>{escaped(each)}</td></tr>"
                   for name, each in versions.items())  # fmt: skip
    table = f"<table id='versions'><tbody>{said}</tbody></table>" if said else ""
    return f"""<section><h2 id="settings">Settings and versions</h2>
<p class="caption">All settings, from {code("config.toml")}; versions from {code("result.json")}.
Repeat the run with {code("ray-mentor train --config config.toml --run-name ANOTHER")}.</p>
<details><summary>config.toml</summary>{copied("config", folder.config)}</details>{table}</section>"""


def columns(names: Sequence[str], file: str) -> str:
    """Which columns of which file a figure is of, as the end of its caption."""
    return f'From <a href="{escaped(file)}">{code(file)}</a>: {", ".join(map(code, names))}.'
