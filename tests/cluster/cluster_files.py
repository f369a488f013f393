"""The files of cluster/, as they are and with sample values filled in, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from kustomized import built

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "cluster"
LAUNCHER = ("aws.yaml", "gcp.yaml", "machines.yaml")
KUBERAY = ("cluster", "train", "tune")
"""Folders of cluster/kuberay, each of which kustomize makes one document of."""

JOBS = KUBERAY[1:]
SHELL = ("slurm.sh",)
STORAGE = "kuberay/storage.yaml"
HEADS_KUBERAY = ("kuberay/train/job.yaml", "kuberay/tune/kustomization.yaml", "kuberay/cluster/kustomization.yaml")
WITH_HEADER = (*LAUNCHER, *HEADS_KUBERAY, *SHELL, STORAGE, "Dockerfile")

MARK = re.compile(r"<YOUR-[A-Z0-9-]+>")


def read(name: str) -> str:
    return (FOLDER / name).read_text()


def filled(text: str) -> str:
    """With something plausible in the place of every marked value."""
    return MARK.sub(lambda found: found.group()[6:-1].lower() + ".example", text)


def loaded(name: str) -> Any:
    """A YAML file as a user would have it."""
    return yaml.safe_load(filled(read(name)))


def storage() -> tuple[dict[str, Any], dict[str, Any]]:
    """The claim of storage, and the job that hands it over."""
    claim, job = yaml.safe_load_all(filled(read(STORAGE)))
    return claim, job


def kuberay(name: str) -> Any:
    """What ``kubectl apply -k cluster/kuberay/NAME`` applies, as a user would have it."""
    return yaml.safe_load(filled(yaml.safe_dump(built(FOLDER / "kuberay" / name))))


def header_of(text: str) -> dict[str, str]:
    """The comment at the top of a file, as ``{"Starts": ..., "Costs": ..., "Stop": ..., "Fill in": ...}``."""
    header: dict[str, str] = {}
    name = ""
    for line in header_lines(text):
        start = re.match(r"# (Starts|Costs|Stop|Build|Fill in): (.*)", line)
        name = start.group(1) if start else name
        header[name] = start.group(2) if start else f"{header.get(name, '')} {line.removeprefix('#').strip()}"
    return header


def header_lines(text: str) -> list[str]:
    """The lines from the first that is a comment to the last before something else."""
    lines = text.splitlines()
    begin = 1 if lines[0].startswith("#!") else 0
    end = next(i for i in range(begin, len(lines)) if not lines[i].startswith("# ") and not lines[i].startswith("#  "))
    return lines[begin:end]


def below_header(text: str) -> str:
    return text.split("\n".join(header_lines(text)), 1)[1]


class Command(NamedTuple):
    """A command that some file tells a user or a machine to run."""

    where: str
    words: tuple[str, ...]

    def after(self, *beginning: str) -> tuple[str, ...] | None:
        """The words behind ``beginning``, which may stand anywhere in the command; None: it is not in it."""
        for start in range(len(self.words) - len(beginning) + 1):
            if self.words[start : start + len(beginning)] == beginning:
                return self.words[start + len(beginning) :]
        return None


def shell_blocks(path: Path) -> list[str]:
    """What a Markdown file tells a user to type, sample values filled in."""
    text = path.read_text()
    begins = r" {4}(ray|ray-mentor|make|mkdir|export|\(umask|RAY_\w+=\w+) "
    indented = "\n".join(line[4:] for line in text.splitlines() if re.match(begins, line))
    return [filled(block) for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)] + [indented]


def commands_of(where: str, script: str) -> Iterator[Command]:
    """Every command of a script, one a line; a backslash joins lines, Slurm's numbers are 2."""
    numbered = re.sub(r'"\$SLURM\w+"', "2", script.replace("\\\n", " ")).replace("=$SLURM_CPUS_PER_TASK", "=2")
    for line in numbered.splitlines():
        words: list[str] = []
        tokens = list(_tokens(line))
        for before, token in zip(["", *tokens], [*tokens, ";"], strict=True):
            if _made_of(token, ";&|()"):
                yield Command(where, tuple(words))
                words = []
            elif not _made_of(token, "<>") and not _made_of(before, "<>"):
                words.append(token)


def _made_of(token: str, characters: str) -> bool:
    return bool(token) and set(token) <= set(characters)


def _tokens(line: str) -> Iterator[str]:
    """Words, and runs of the shell's own characters."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return iter(lexer)


def all_commands() -> list[Command]:
    """Of both READMEs, the pages of docs/, the launcher's files, the KubeRay jobs and the Slurm script."""
    found: list[Command] = []
    for path in (ROOT / "README.md", FOLDER / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for block in shell_blocks(path):
            found += commands_of(str(path.relative_to(ROOT)), block)
    for name in SHELL:
        found += commands_of(name, filled(read(name)))
    for name in LAUNCHER:
        for line in launcher_lines(loaded(name)):
            found += commands_of(name, line)
    for name in KUBERAY:
        entry = kuberay(name)["spec"].get("entrypoint")
        found += commands_of(f"kuberay/{name}", entry) if entry else []
    return [command for command in found if command.words]


def launcher_lines(config: dict[str, Any]) -> list[str]:
    """The shell commands that a launcher file has its machines run."""
    return [line for key, lines in config.items() if key.endswith("_commands") for line in lines]


def cluster_of(document: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = document["spec"]
    return spec if document["kind"] == "RayCluster" else spec["rayClusterSpec"]


def pods_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The specs of all pods, a job's submitter among them."""
    cluster = cluster_of(document)
    submitter = [document["spec"]["submitterPodTemplate"]] if document["kind"] == "RayJob" else []
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [template["spec"] for template in [*(group["template"] for group in groups), *submitter]]


def mounts_storage(pod: dict[str, Any], container: dict[str, Any]) -> bool:
    """Whether the claim of storage is what a container has as /results, and all that it has."""
    claim = storage()[0]["metadata"]["name"]
    (volume,) = pod["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim
    return bool(container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/results"}])
