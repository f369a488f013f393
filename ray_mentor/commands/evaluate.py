"""``ray-mentor evaluate``: how a run's student does on labels that are right."""

from __future__ import annotations

from ray_mentor.commands.arguments import Parser, add_arguments
from ray_mentor.errors import UserError, printable
from ray_mentor.extras import needing

_SAYS = (
    "Says how the trained student of a run does on labelled data: accuracy with its 95 % interval, class by class, "
    "balanced accuracy, which classes it takes for which, and how far its probabilities are to be believed "
    "(calibration error: 15 bins of equal width). The labels count as right; RUN/evaluation.json has it all, and the "
    "run's page shows it. Of a run of plain text it says bits per byte, of all of a file or folder."
)


def run(words: list[str]) -> None:
    """The command."""
    parser = Parser(prog="ray-mentor evaluate", description=_SAYS)
    add_arguments(parser, "labelled samples, in any format that train takes")
    parser.add_argument("--label-column", metavar="NAME", help="the column of labels, where training's differs")
    asked = parser.asked(words)
    with needing("ray", "ray-mentor evaluate"):  # PyTorch, which --help need not wait for
        from ray_mentor.commands.inference import bits_of_text, opened, said, same_files, student_of  # noqa: PLC0415
        from ray_mentor.report.evaluated import show_evaluation  # noqa: PLC0415
        from ray_mentor.report.run.written import REPORT, write_report  # noqa: PLC0415
        from ray_mentor.run.directory import RunDirectory, inside  # noqa: PLC0415
        from ray_mentor.run.trained.evaluation import EVALUATION, Evaluated, Evaluation  # noqa: PLC0415
        from ray_mentor.run.trained.fed import BYTES  # noqa: PLC0415
        from ray_mentor.run.trained.passing import Passing  # noqa: PLC0415
        from ray_mentor.run.trained.trained_on import TrainedOn  # noqa: PLC0415

    directory = RunDirectory(asked.run)
    whole = student_of(asked)
    if whole.about.input.kind == BYTES:
        for line in bits_of_text(asked, whole):
            print(printable(line))
        return
    of = opened(asked, whole, labelled=True)
    for note in of.notes:
        print(printable(note))
    assert of.new.labels is not None
    student, known = of.student, TrainedOn.read(directory)
    all_of_it, others = Evaluation(student.classes), Evaluation(student.classes)
    passing = Passing(of.new, known, of.student.about.input.tokens)
    for table, seen in passing.through(said(asked, of, content=known is not None)):
        all_of_it.take(of.new.labels, table)
        others.take(of.new.labels, table.filter(~seen))
    warning = passing.warning if known is not None else same_files(asked.run, asked.data, of.new.notes)
    for note in (*passing.notes, *([f"warning: {warning}: what is measured on them flatters"] if warning else [])):
        print(printable(note))
    about = {"data": asked.data, "student": student.name.rpartition("/")[2], "epoch": student.figures.get("epoch")}
    beside = {"warning": warning, "left_out": passing.left_out, "trained_on": None if known is None else passing.seen}
    rest = others.overall() if 0 < passing.seen < passing.passed else None
    found = Evaluated({**about, **beside, "others": rest, **all_of_it.figures()})
    found.write(directory)
    show_evaluation(found)
    print(printable(f"written: {inside(directory.path, EVALUATION)}"))
    if directory.size(REPORT) is not None:
        try:
            write_report(directory)
            print(printable(f"and on the run's page: {inside(directory.path, REPORT)}"))
        except UserError as error:
            print(printable(f"the run's page does not show it ({error}); ray-mentor report makes one"))
