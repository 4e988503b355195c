"""What the package brings along, and under which licences: `python -m tests.captioner.licences` prints it.

Ends with status 1 if there is one that nobody has looked at.
"""

import re
import sys
import tomllib
from importlib.metadata import PackageMetadata, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import PROJECT

# Licences that allow anybody to ship what is under them with a program of any licence. Of tqdm, under MPL, the sources
# that were changed would have to be given along.
ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CNRI-Python",
    "ISC",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "MPL-2.0",
    "PSF-2.0",
    "Zlib",
}
# What those say who don't use the short names of SPDX.
SPELLINGS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
# How Poetry classifies what may be had under one of several licences, archspec for instance.
NO_ONE_LICENCE = "Other/Proprietary License"
# What PyTorch's build for GPUs requires, under NVIDIA's licences. The package needs the one for CPUs, which does not.
FOR_GPUS = re.compile(r"nvidia-.*|cuda-.*|triton")


def shipped() -> dict[str, str]:
    """The licence of each distribution that the package with all its extras needs on a CPU, by its name."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    found: dict[str, str] = {}
    waiting = [Requirement(line) for line in (*project["dependencies"], *extras)]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if FOR_GPUS.fullmatch(name) or (name in found and not requirement.extras) or not _is_needed(requirement, {""}):
            continue
        installed = distribution(name)
        found[name] = licence(installed.metadata)
        needed = map(Requirement, installed.requires or [])
        waiting += [_without_marker(more) for more in needed if _is_needed(more, requirement.extras | {""})]
    return dict(sorted(found.items()))


def _is_needed(requirement: Requirement, extras: set[str]) -> bool:
    """Whether what it depends on is the case here, with these extras."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)


def _without_marker(requirement: Requirement) -> Requirement:
    requirement.marker = None
    return requirement


def licence(metadata: PackageMetadata) -> str:
    """What a distribution says of its licence, in SPDX's short names where they are known."""
    classifiers = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier", []) if "License ::" in line]
    if classifiers == [NO_ONE_LICENCE] and metadata.get("License"):
        classifiers = []
    said = (
        metadata.get("License-Expression")
        or " AND ".join(SPELLINGS.get(each, each) for each in classifiers)
        or metadata.get("License")
        or "unknown"
    )
    return SPELLINGS.get(said, said)


def not_allowed(licences: dict[str, str]) -> dict[str, str]:
    """Those of which a part is under a licence that is not allowed. Of alternatives, all must be."""
    return {name: said for name, said in licences.items() if not set(re.split(r" AND | OR |[()]", said)) <= ALLOWED}


if __name__ == "__main__":
    everything = shipped()
    print("\n".join(f"{name:20} {said}" for name, said in everything.items()))
    sys.exit(f"not looked at: {unknown}" if (unknown := not_allowed(everything)) else 0)
