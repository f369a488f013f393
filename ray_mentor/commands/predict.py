"""``ray-mentor predict``: what a run's student says of new data."""

from __future__ import annotations

from ray_mentor.commands.arguments import Parser, add_arguments
from ray_mentor.errors import printable
from ray_mentor.extras import needing

_SAYS = (
    "Says what the trained student of a run makes of new data, a row a sample: sample_id, class, its probability, and "
    "the entropy of the probabilities of all classes (in nats: 0 is sure, ln C knows nothing). Features are found by "
    "name; labels need not be there, and are not read. Inputs are normalised as in training."
)


def run(words: list[str]) -> None:
    """The command."""
    parser = Parser(prog="ray-mentor predict", description=_SAYS)
    add_arguments(parser, "new samples, in any format that train takes; images also in one folder")
    parser.add_argument("--out", metavar="FILE", required=True, help="where predictions go: .parquet or .csv")
    parser.add_argument("--probabilities", action="store_true", help="also a column a class, p_NAME")
    asked = parser.asked(words)
    with needing("ray", "ray-mentor predict"):
        from ray_mentor.commands.inference import opened, said, student_of  # noqa: PLC0415
        from ray_mentor.report.predicted import Tally  # noqa: PLC0415
        from ray_mentor.run.directory import RunDirectory  # noqa: PLC0415
        from ray_mentor.run.trained.passing import Passing  # noqa: PLC0415
        from ray_mentor.run.trained.predictions import as_rows, schema_of  # noqa: PLC0415
        from ray_mentor.run.trained.table_files import check_table_file, write_table_file  # noqa: PLC0415
        from ray_mentor.run.trained.trained_on import TrainedOn  # noqa: PLC0415

    student = student_of(asked)  # which is asked for first: another file for the predictions would not help without it
    check_table_file(asked.out)
    of = opened(asked, student, labelled=False)
    for note in of.notes:
        print(printable(note))
    classes = of.student.classes
    tally, known = Tally(classes), TrainedOn.read(RunDirectory(asked.run))
    passing = Passing(of.new, known, of.student.about.input.tokens)
    found = said(asked, of, every=asked.probabilities, content=known is not None)
    tables = tally.counted(table for table, _ in passing.through(found))
    schema = schema_of(of.new, classes, every=asked.probabilities)
    write_table_file(asked.out, schema, as_rows(of.new, classes, tables))
    for note in (*passing.notes, *filter(None, [passing.warning])):
        print(printable(note))
    tally.show()
    print(printable(f"{passing.passed:,} predictions are in {asked.out}"))
