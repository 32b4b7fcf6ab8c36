"""What a notebook leaves behind: `outputs/RUN/NN_name/` with data files, metrics.json and, last, manifest.json.

A folder without manifest is unfinished. Every file is written aside and renamed, so a killed run leaves either the
old file or the new one. A notebook begins a `Stage`, reads lower numbers through `load`, which verifies them and says
what to run first.
"""

from .code import hash_alone, hash_code, hash_modules
from .files import (
    describe,
    hash_file,
    read_inverse_depth,
    read_json,
    write_aside,
    write_inverse_depth,
    write_json,
)
from .stages import Artifact, ArtifactError, Stage, begin, describe_machine, expect, find_sources, load, run_folder

__all__ = [
    "Artifact",
    "ArtifactError",
    "Stage",
    "begin",
    "describe",
    "describe_machine",
    "expect",
    "find_sources",
    "hash_alone",
    "hash_code",
    "hash_file",
    "hash_modules",
    "load",
    "read_inverse_depth",
    "read_json",
    "run_folder",
    "write_aside",
    "write_inverse_depth",
    "write_json",
]
