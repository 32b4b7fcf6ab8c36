import ast
import json

import pytest

from lib import ROOT, params

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def parameters_cell(path):
    for cell in json.loads(path.read_text())["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            return "".join(cell["source"])
    raise AssertionError(f"{path.name} has no cell tagged parameters")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_parameters_cell_lists_the_dataclass(path):
    cell = parameters_cell(path)
    values = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell).body}
    schema = params.SCHEMAS[path.stem]
    assert list(values) == list(params.as_dict(schema())), "names or order differ from lib/params"
    assert params.make(schema, values) == schema(), "a default differs from lib/params"
    for line in filter(None, cell.splitlines()):
        name, rest = line.split(" = ", 1)
        assert name.isidentifier(), f"one plain `name = literal` a line: {line}"
        assert "#" not in rest or "=" not in rest.split("#", 1)[1], f"papermill cannot read a second `=`: {line}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_parameter_is_used(path):
    code = "\n".join("".join(c["source"]) for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code")
    code += "\n".join(
        p.read_text() for p in (ROOT / "lib").rglob("*.py") if "tests" not in p.parts and p.name != "params.py"
    )
    for name in params.as_dict(params.SCHEMAS[path.stem]()):
        assert f".{name}" in code, f"{path.stem}: parameter {name} is read nowhere"


@pytest.mark.parametrize("folder", sorted(p for p in (ROOT / "params").iterdir() if p.is_dir()), ids=lambda p: p.name)
def test_parameter_files_are_valid_and_stay_in_their_own_folder(folder):
    files = sorted(folder.glob("*.yaml"))
    assert files
    for path in files:
        assert params.read_file(params.SCHEMAS[path.stem], path).run == folder.name


def test_unknown_name_names_the_nearest():
    with pytest.raises(params.ParameterError, match="did you mean 'superpixels'"):
        params.make(params.RegionParams, {"superpixel": 3})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": "1e-4"}, "learning_rate must be float.*YAML reads 1e-4 as text"),
        ({"steps": 2.5}, "steps must be int"),
        ({"auto_mask": 1}, "auto_mask must be bool"),
        ({"clips": "street"}, "clips must be a list of str"),
        ({"clips": ["mars"]}, "'mars' is none of"),
        ({"height": 50}, "multiples of 32"),
        ({"max_depth": 0.1}, "must exceed"),
        ({"flip_probability": 1.5}, "must lie in 0..1"),
    ],
)
def test_wrong_values_get_one_sentence(values, message):
    with pytest.raises(params.ParameterError, match=message) as caught:
        params.make(params.DepthParams, values)
    assert "\n" not in str(caught.value)


def test_whole_numbers_pass_as_floats_and_lists_as_tuples():
    made = params.make(params.DepthParams, {"learning_rate": 1, "clips": ["camvid", "kitti_odometry:04"]})
    assert made.learning_rate == 1.0
    assert isinstance(made.learning_rate, float)
    assert made.clips == ("camvid", "kitti_odometry:04")


def test_read_takes_the_cell_and_refuses_injected_typos():
    cell = params.as_dict(params.RegionParams())
    assert params.read(params.RegionParams, {**cell, "cut": 0.3, "In": ["", "x = 1"]}).cut == 0.3
    injected = {**cell, "cuts": 0.1, "In": ["# Parameters\ncuts = 0.1\n"]}
    with pytest.raises(params.ParameterError, match="no parameter 'cuts'.*did you mean 'cut'"):
        params.read(params.RegionParams, injected)
    with pytest.raises(params.ParameterError, match="does not define 'bias'"):
        params.read(params.RegionParams, {k: v for k, v in cell.items() if k != "bias"})


def test_files_are_named_in_errors(tmp_path):
    path = tmp_path / "02_regions.yaml"
    path.write_text("cut: 1e-1\n")
    with pytest.raises(params.ParameterError, match="02_regions.yaml: cut must be float"):
        params.read_file(params.RegionParams, path)
    path.write_text("cut: [")
    with pytest.raises(params.ParameterError, match="not valid YAML"):
        params.read_file(params.RegionParams, path)


def test_what_may_change_on_a_resume():
    longer = params.make(params.TrainingParams, {"steps": 9, "workers": 0, "device": "cpu"})
    assert params.fixed(longer) == params.fixed(params.TrainingParams())
    assert params.decisive(longer) != params.decisive(params.TrainingParams())
    other = params.make(params.TrainingParams, {"prototypes": 9})
    assert params.fixed(other) != params.fixed(params.TrainingParams())


@pytest.mark.parametrize(
    ("name", "value"),
    [("bias", float("nan")), ("occlusion_weight", float("inf")), ("support_weight", -1.0), ("smoothing", -1.0)],
)
def test_weights_that_say_nothing_are_refused(name, value):
    with pytest.raises(params.ParameterError, match=f"{name} must (be a finite number|not be negative)"):
        params.make(params.RegionParams, {name: value})


def test_a_preset_replaces_constants():
    full = params.make(params.RegionParams, {"preset": "full"})
    assert (full.occlusion_weight, full.support_weight, full.bias, full.color_weight) == (36.0, 2.5, -4.0, 0.0)
    assert params.make(params.RegionParams, {"preset": "released"}).support_weight == 0.0
    fitted = params.make(params.RegionParams, {"preset": "fitted", "cut": 0.5})
    assert (fitted.support_weight, fitted.color_weight, fitted.cut) == (1000.0, 0.1, 0.04)
    assert params.make(params.RegionParams, params.as_dict(full)) == full
    with pytest.raises(params.ParameterError, match="preset must be one of none, full, released, fitted"):
        params.make(params.RegionParams, {"preset": "paper"})


def test_a_start_that_is_a_file_counts_as_one_and_a_name_does_not(tmp_path):
    file = tmp_path / "weights.pt"
    file.write_bytes(b"")
    assert params.list_paths(params.TrainingParams(start=str(file))) == {"start": file}
    for name in ("random", "imagenet", "street"):
        assert params.list_paths(params.TrainingParams(start=name)) == {}
    assert params.list_paths(params.VideoParams(start=2.0, path="film.mp4")).keys() == {"path"}


def test_of_several_starts_files_are_found_from_where_the_command_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "swav.pth").write_bytes(b"")
    given = params.FinetuningParams(starts=("random", "swav.pth", "own", "cityscapes"))
    assert list(params.list_paths(given)) == ["starts 1"]
    assert params.locate(given).starts == ("random", str(tmp_path / "swav.pth"), "own", "cityscapes")
    assert params.locate(params.FinetuningParams()) == params.FinetuningParams()
    assert params.make(params.FinetuningParams, {"fractions": [0.25, 1]}).fractions == (0.25, 1.0)


def test_each_fold_or_seed_has_its_run_or_none_has():
    assert params.FinetuningParams(folds=(0, 1), fold_runs=("a", "b")).fold_runs == ("a", "b")
    assert params.FinetuningParams(seeds=(0, 1), seed_runs=("a", "b")).seed_runs == ("a", "b")
    with pytest.raises(params.ParameterError, match="seed_runs names 2 runs for 1 seeds: give one for each, or none"):
        params.FinetuningParams(seed_runs=("a", "b"))
    with pytest.raises(params.ParameterError, match="give fold_runs or seed_runs, not both"):
        params.FinetuningParams(folds=(0,), fold_runs=("a",), seed_runs=("b",))
    with pytest.raises(params.ParameterError, match="fold_runs names 1 runs for 2 folds: give one for each, or none"):
        params.FinetuningParams(folds=(0, 1), fold_runs=("a",))


def test_no_notebook_looks_at_test_clips_by_itself():
    """Choose on validation, report on test: a report asks for it in a parameter file."""
    for name, schema in params.SCHEMAS.items():
        for field in ("split", "match_split"):
            assert getattr(schema(), field, "val") == "val", f"{name}: {field} of the defaults"
