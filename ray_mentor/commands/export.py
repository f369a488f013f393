"""``ray-mentor export``: a run's student as a program of torch.export, or in ONNX."""

from __future__ import annotations

from ray_mentor.commands.arguments import Parser, add_run, add_which
from ray_mentor.errors import printable
from ray_mentor.extras import needing

_SAYS = (
    "Writes the trained student of a run as a program that needs nothing of this package. The normalisation is inside: "
    "raw inputs go in (uint8 images as N, H, W, C, features in their order, or token ids), logits come out, of any "
    "number of samples. Its logits are compared with the student's, to 1e-5."
)


def run(words: list[str]) -> None:
    """The command."""
    parser = Parser(prog="ray-mentor export", description=_SAYS)
    add_run(parser)
    parser.add_argument(
        "--to", choices=("torch", "onnx"), default="torch", help="torch.export's format (default), or ONNX"
    )
    parser.add_argument("--out", metavar="FILE", required=True, help="where it goes, e.g. student.pt2 or student.onnx")
    parser.add_argument("--student", metavar="NAME", help="what builds the student, where that is code of your own")
    add_which(parser)
    asked = parser.asked(words)
    with needing("ray", "ray-mentor export"):  # PyTorch, which --help need not wait for
        from ray_mentor.run.findings.new_files import check_free, write_new  # noqa: PLC0415
        from ray_mentor.run.trained.exported import exported  # noqa: PLC0415
        from ray_mentor.run.trained.fed import BYTES  # noqa: PLC0415
        from ray_mentor.run.trained.student import Student  # noqa: PLC0415

    check_free(asked.out)
    student = Student.from_run(asked.run, asked.student, which=asked.which)
    made = exported(student, asked.to)
    write_new(asked.out, lambda file: file.write(made.content))
    for note in student.notes:
        print(printable(note))
    fed = student.about.input
    shape = ", ".join(map(str, fed.stored_shape))
    raw = f"raw {fed} (N, {shape}), which are normalised inside"
    if fed.tokens is not None:
        raw = f"{fed} (N, up to {fed.most}), as the tokenizer in {asked.run}/student makes them, padded by {fed.pad}"
    of_each = f"{len(student.classes)}"
    if fed.kind == BYTES:
        raw, of_each = f"{fed}, uint8 (N, {shape})", f"{shape}, {len(student.classes)}"
    print(printable(f"in: {raw}; out: logits (N, {of_each}); any N >= 1"))
    if fed.resize is not None:
        side, size = fed.resize, f"{fed.shape[2]}×{fed.shape[1]}"
        print(
            f"images of another size: resize the shorter side to {side}, crop the middle {side}×{side}, and of that "
            f"the middle {size}, as training did"
        )
    by = f"by {made.difference:.1e} at most, of up to {made.largest:.1f}, on {made.tried} random inputs"
    print(f"logits differ from the student's {by}")
    print(printable(f"written: {asked.out}"))
