"""What an evaluation says, as sections of a run's page; none where nobody evaluated."""

from __future__ import annotations

from ray_mentor.report.evaluated import lines
from ray_mentor.report.page.document import section
from ray_mentor.report.page.drawing import Figure
from ray_mentor.report.page.html import escaped
from ray_mentor.report.page.words import figure_text
from ray_mentor.report.run.figures.evaluation import confusion_figure, reliability_figure
from ray_mentor.report.run.head import columns
from ray_mentor.run.trained.evaluation import EVALUATION, Evaluated

_MOST_CLASSES = 100


def evaluation_sections(found: Evaluated | None, lacks: str) -> tuple[str, dict[str, Figure]]:
    """HTML and figures; of what can't be read a line.

    Args:
        lacks: what is said where ``found`` is None; nothing at all if it is empty.
    """
    if found is None:
        return (section("reliability", "Evaluation", "", None, lacks) if lacks else ""), {}
    figures = found.figures
    caption = (
        f"Of the trained student on {escaped(figures['data'])}, whose labels count as right. Bars: how often it is "
        "right where it is so sure; on the line it is as often right as it says, below it is too sure. "
        + columns(["calibration"], EVALUATION)
    )
    parts = {"reliability": reliability_figure(figures)}
    reliability = section("reliability", "Evaluation", caption, parts["reliability"], "", more=_tables(found))
    confusion = confusion_figure(figures)
    if confusion is None:
        return reliability, parts
    says = "Rows the label, columns what the student says; how many samples. " + columns(["confusion"], EVALUATION)
    parts["confusion"] = confusion
    return reliability + section("confusion", "What the trained student takes for what", says, confusion, ""), parts


def _tables(found: Evaluated) -> str:
    head = "".join(
        f"<tr><th scope='row'>{escaped(n)}</th><td>{escaped(value)}</td></tr>" for n, value in lines(found.figures)
    )
    heads = "".join(
        f"<th scope='col'>{each}</th>" for each in ("class", "samples", "accuracy", "said", "of which right")
    )
    rows = "".join(
        f"<tr><th scope='row'>{escaped(each['class'])}</th><td>{each['samples']:,}</td>"
        f"<td>{figure_text(each['accuracy'], '{:.3f}')}</td><td>{each['said']:,}</td>"
        f"<td>{figure_text(each['precision'], '{:.3f}')}</td></tr>"
        for each in found.figures["classes"][:_MOST_CLASSES]
    )
    return (
        f"<div class='wide' tabindex='0'><table id='evaluation'><tbody>{head}</tbody></table></div>"
        f"<div class='wide' tabindex='0'><table id='evaluation-classes'><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )
