"""``ray-mentor teach``: a mentor of a run that knew which labels were right."""

from __future__ import annotations

from ray_mentor.commands.arguments import Parser, add_run
from ray_mentor.errors import printable


def run(words: list[str]) -> None:
    """The command."""
    says = (
        "Teaches a mentor which losses are those of right labels, from the ledger of a finished run on data whose true "
        "labels are known, and writes it to FILE. Another run weighs by it: ray-mentor train --method mentornet-frozen "
        "--mentor-from FILE"
    )
    parser = Parser("ray-mentor teach", says)
    add_run(parser)
    parser.add_argument("--out", metavar="FILE", required=True, help="where the mentor goes, e.g. taught.npz")
    parser.add_argument("--mentor", choices=("mlp", "mentornet"), default="mlp", help="what it is made of")
    asked = parser.asked(words)
    from ray_mentor.run.findings.new_files import check_free, write_new  # noqa: PLC0415

    check_free(asked.out)
    from ray_mentor.config import MentorConfig  # noqa: PLC0415
    from ray_mentor.run.directory import RunDirectory  # noqa: PLC0415
    from ray_mentor.run.teaching import taught_by  # noqa: PLC0415

    content, lesson = taught_by(RunDirectory(asked.run), MentorConfig(mentor=asked.mentor))
    write_new(asked.out, lambda file: file.write(content))
    print(printable(f"{lesson}; it is in {asked.out}"))
