"""The suspicious samples of a run's page: cards that can be filtered, searched, sorted, chosen and copied."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ray_mentor.errors import printable
from ray_mentor.report.page.html import code, escaped
from ray_mentor.report.run.gallery.sparkline import sparkline
from ray_mentor.report.run.gallery.suspicious import Suspicious
from ray_mentor.report.run.ledger_facts import LedgerFacts, means
from ray_mentor.run.audit.audit import Audit

_LONG = 1000  # characters of a note


def gallery_section(found: Suspicious, audit: Audit, facts: LedgerFacts) -> str:
    """Head, controls and a card a sample."""
    rate = "" if audit.rate is None else f"<b>{escaped(audit.rate)}.</b> "
    notes = "".join(f'<p class="caption">{escaped(note[:1].upper() + note[1:], _LONG)}.</p>' for note in audit.notes)
    lacks = f'<p class="caption">No pictures: {escaped(found.lacks, _LONG)}.</p>' if found.lacks else ""
    class_loss, class_weight = (means(total, facts.class_count) for total in (facts.class_loss, facts.class_scored))
    cards = "\n".join(_card(found, place, class_loss, class_weight) for place in range(len(found.rows)))
    return f"""<section><h2 id="suspicious">Suspicious samples</h2>
<p>{rate}The {len(found.rows)} most suspicious of {len(audit.table):,} samples, by the audit's score
(the higher, the surer the student says another label).</p>
<p class="caption">Each card: the sample, its given label and what the student said most often instead; thick its loss
and its weight over the epochs, thin the mean of its class. From {code("ledger/")}; {code("ray-mentor audit RUN")}
has all samples.</p>{notes}{lacks}
{_controls(found.rows)}
<div id="cards">
{cards}
</div></section>"""


def _controls(rows: Sequence[dict[str, Any]]) -> str:
    given = sorted({str(row["given_label"]) for row in rows})
    suggested = sorted({str(row["suggested_label"]) for row in rows if row["suggested_label"] is not None})
    sorts = {"score": "score", "loss": "loss at the end", "weight": "mean weight", "id": "id"}
    by = "".join(f'<option value="{name}">{says}</option>' for name, says in sorts.items())
    return f"""<div class="controls" role="group" aria-label="Which samples are shown">
<label>Given <select id="by-given"><option value="">all</option>{_options(given)}</select></label>
<label>Suggested <select id="by-suggested"><option value="">all</option>{_options(suggested)}</select></label>
<label>Id <input type="search" id="by-id" size="10" autocomplete="off"></label>
<label>Sort by <select id="sort">{by}</select></label>
<button type="button" id="choose">Choose all shown</button>
<button type="button" id="copy-ids" disabled>Copy chosen ids</button>
<output id="shown" aria-live="polite"></output></div>"""


_MOST = 2000  # characters of an id that can be copied
_NOT_IN_HTML = re.compile("[\x00\x80-\x9f]")  # neither as they are nor by number


def _can_be_copied(identity: object) -> bool:
    return len(str(identity)) <= _MOST and not _NOT_IN_HTML.search(str(identity))


def _exact(text: object) -> str:
    """As the value of an attribute, which is compared and copied: every character, those that control by number.

    A long text is cut short, and yet is no other's.
    """
    whole = str(text)
    if len(whole) > _MOST:
        whole = f"{whole[:_MOST]}…{hashlib.sha256(whole.encode()).hexdigest()}"
    plain = _NOT_IN_HTML.sub(lambda found: printable(found[0]), html.escape(whole))
    return "".join(each if each.isprintable() else f"&#{ord(each)};" for each in plain)


def _options(names: Sequence[str]) -> str:
    return "".join(f'<option value="{_exact(name)}">{escaped(name, 40)}</option>' for name in names)


def _card(found: Suspicious, place: int, class_loss: Any, class_weight: Any) -> str:
    row, label = found.rows[place], found.label[place]
    given, suggested = (escaped(row[name]) for name in ("given_label", "suggested_label"))
    loss, weight = found.loss[place], found.weight[place]
    mean_loss, mean_weight = class_loss[:, label], class_weight[:, label]
    highest = float(np.nanmax([np.nanmax(loss, initial=0), np.nanmax(mean_loss, initial=0), 1e-6]))
    says = f"{given} → {suggested}" if row["suggested_label"] is not None else given
    share = "" if row["suggested_share"] is None else f" ({row['suggested_share']:.0%})"
    truth = f" · true: {escaped(row['true_label'])}" if row.get("true_label") is not None else ""
    known = {
        "id": _exact(row["sample_id"]),
        "given": _exact(row["given_label"]),
        "suggested": _exact(row["suggested_label"]) if row["suggested_label"] is not None else "",
        "score": f"{row['score']:.6f}",
        "loss": _number(row["loss_late"]),
        "weight": _number(row["mean_sample_weight"]),
    }
    closed = "" if _can_be_copied(row["sample_id"]) else " disabled"
    data = " ".join(f'data-{name}="{value}"' for name, value in known.items())
    return f"""<figure class="card" {data}>
<label class="id"><input type="checkbox"{closed}> {escaped(row["sample_id"], 40)}</label>
{"" if found.shown is None else found.shown[place]}
<figcaption><b>{says}</b>{share}<br>score {row["score"]:.3f}{truth}</figcaption>
<p class="line">loss {sparkline(loss, mean_loss, highest, "loss")}</p>
<p class="line">weight {sparkline(weight, mean_weight, 1.0, "weight")}</p>
</figure>"""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
