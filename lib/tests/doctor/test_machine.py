"""Versions, the machine, the data found, and the report as a whole."""

import ast
import errno
import shutil
import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

from lib import ROOT, params
from lib.run.doctor import __main__ as command
from lib.run.doctor import data, machine, report, versions

from ..data.fixtures import write_camvid


def test_the_whole_report_of_a_machine_without_data(said):
    assert command.main(["--quick"]) == 0
    text = said()
    for part in ("1. Versions", "2. This machine", "3. Data found", "4. Runs", "5. What to do"):
        assert part in text
    assert "no folder given: set DATA_ROOT" in text
    assert "make run: the street run can be made here (about" in text
    assert "camvid is absent" in text
    assert "Traceback" not in text


def run_bare(*words):
    """The doctor in a Python without any package."""
    code = [sys.executable, "-S", "-m", "lib.run.doctor", *words]
    return subprocess.Popen(code, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_without_any_package_it_says_so():
    process = run_bare()
    out, err = process.communicate()
    assert process.returncode == 1
    assert err == ""
    assert "not installed: numpy, torch, torchvision," in out
    assert "GB free for" in out, "the disk is looked at all the same"
    assert "make run" not in out


def test_a_reader_that_leaves_early_sees_no_traceback():
    process = run_bare()
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    assert process.wait() == 1


@pytest.mark.parametrize("name", ["__init__", "__main__", "report", "versions", "machine"])
def test_an_old_python_can_read_what_tells_it_so(name):
    ast.parse((ROOT / "lib/run/doctor" / f"{name}.py").read_text(), feature_version=(3, 8))


def test_an_old_python_is_told(monkeypatch, said):
    monkeypatch.setattr(versions, "OLDEST", (99, 1))
    found = report.Report()
    versions.show_versions(found)
    assert "is too old, 99.1 is needed: make env" in said()
    assert len(found.problems) == 1


def test_packages_that_are_missing_or_off_their_pin(monkeypatch, said):
    pins = versions.read_pins(ROOT / "requirements.txt")
    needed = versions.read_needed(ROOT / "pyproject.toml")
    assert {"torch", "infomap", "papermill"} <= set(needed) <= set(pins)

    def version(name):
        if name == "infomap":
            raise metadata.PackageNotFoundError(name)
        return {"scipy": "0.1", "torch": f"{min(pins['torch'])}+cpu"}.get(name, min(pins[name]))

    monkeypatch.setattr(metadata, "version", version)
    found = report.Report()
    versions.show_packages(found)
    assert found.problems == ["not installed: infomap: make env, then make doctor"]
    text = said()
    assert f"{len(needed) - 2} of {len(needed)} as pinned" in text
    assert "scipy is 0.1, pinned is" in text


def test_a_package_that_does_not_load(monkeypatch, said):
    monkeypatch.setitem(sys.modules, "infomap", None)
    found = report.Report()
    versions.check_loads(found, "infomap")
    assert found.problems == [], "missing, which was said before"

    def load(name):
        raise ImportError("libx.so.1: cannot open shared object file. More words")

    monkeypatch.setattr(versions.importlib, "import_module", load)
    versions.check_loads(found, "infomap")
    assert "infomap is installed but does not load (libx.so.1: cannot open shared object file)" in said()
    assert len(found.problems) == 1


def test_the_kernel(monkeypatch, said):
    from jupyter_client import kernelspec

    def find(self, name):
        return SimpleNamespace(argv=["/elsewhere/bin/python", "-m", "ipykernel_launcher"])

    found = report.Report()
    monkeypatch.setattr(kernelspec.KernelSpecManager, "get_kernel_spec", find)
    versions.show_kernel(found)
    assert "it starts /elsewhere/bin/python, another Python" in said()

    def miss(self, name):
        raise kernelspec.NoSuchKernel(name)

    monkeypatch.setattr(kernelspec.KernelSpecManager, "get_kernel_spec", miss)
    versions.show_kernel(found)
    assert "no Jupyter kernel" in found.problems[0]


def test_no_git(monkeypatch, said):
    def fail(*words, **options):
        raise FileNotFoundError("git")

    monkeypatch.setattr(versions.subprocess, "run", fail)
    versions.show_commit(report.Report())
    assert "not known (no git, or no checkout)" in said()


def test_an_unwritable_or_full_disk_stops_the_run(monkeypatch, said):
    def refuse(**options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(machine.tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1e9))
    assert command.main(["--quick"]) == 1
    text = said().split("5. What to do")[1]
    assert "less than 3 GB free" in text
    assert "is not writable (Permission denied)" in text
    assert "make run" not in text


def test_little_memory_small_limits_and_a_driver_without_gpu(monkeypatch, tmp_path, said):
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1000000000\n")
    monkeypatch.setattr(machine, "LIMITS", tmp_path)
    monkeypatch.setattr(machine, "SHARED", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=64e6))
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    machine.show_machine(report.Report())
    text = said()
    for words in ("may use 0.5 of them", "1.0 GB, 1.0 GB free", "less than 2 GB free", "--shm-size", "NVIDIA driver"):
        assert words in text
    assert "auto is cpu: no GPU, which is fine for street" in text


def test_a_machine_that_says_nothing(monkeypatch, said):
    def fail(*words):
        raise OSError("no such thing")

    for name in ("name_processor", "read_limit", "count_cores"):
        monkeypatch.setattr(machine, name, fail)
    monkeypatch.setattr("lib.parallel.pick_device", fail)
    assert machine.show_machine(report.Report()) is None
    assert said().count("not known here: no such thing (OSError)") == 3


def test_data_that_is_there_absent_or_refused(tmp_path, monkeypatch, said):
    write_camvid(tmp_path)
    (tmp_path / "gta5").mkdir()
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    found = data.show_data(report.Report(), "")
    text = said()
    assert found["camvid"].state == "found"
    assert "camvid frames: train 15, val 2, test 6; labelled: 23; videos: 1" in text
    assert found["gta5"].state == "refused"
    absent = [name for name, one in found.items() if one.state == "absent"]
    assert sorted(absent) == sorted(set(params.DATASETS) - {"camvid", "gta5", *data.ELSEWHERE})
    assert all(" Get " in found[name].text or " Ask " in found[name].text for name in absent)


def test_a_reader_that_raises_is_one_line(tmp_path, monkeypatch, said):
    write_camvid(tmp_path)
    next((tmp_path / "camvid" / "trainannot").iterdir()).unlink()
    text = data.look("camvid", str(tmp_path)).text
    assert text.startswith("there, but refused: image")
    assert "has no label" in text
    assert "Get CamVid" not in text

    def fail(*words):
        raise KeyError

    monkeypatch.setattr(data, "open_dataset", fail)
    assert data.look("camvid", str(tmp_path)).text == "there, but refused: KeyError"
    data.show_data(report.Report(), str(tmp_path / "nowhere"))
    assert "THERE IS NO SUCH FOLDER" in said()


def test_the_first_sentence():
    assert report.first_sentence("no file a.png: get it.\nMore of it") == "no file a.png: get it"
    assert report.first_sentence(ValueError()) == "ValueError"
