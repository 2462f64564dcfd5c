"""Imports point one way: down the layers, and never from the model to what reads its results."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "iosim"

LAYERS: dict[str, set[str]] = {
    "model": set(),
    "host": {"model"},
    "disk": {"model", "host"},
    "cpu_vmx": {"model", "host"},
    "kvm": {"model", "host", "cpu_vmx"},
    "guest": {"model", "host", "cpu_vmx", "kvm"},
    "qemu": {"model", "host", "cpu_vmx", "kvm", "disk"},
    "traces": {"model"},
    "results": {"model"},
    "analytic": {"model", "results"},
    "exports": {"model", "results"},
    "lifecycle": {"model", "host", "kvm", "guest", "qemu"},
    "port_feed": {"model", "guest", "lifecycle"},
    "machine": {"model", "host", "disk", "cpu_vmx", "kvm", "guest", "qemu", "lifecycle", "port_feed"},
    "run": {"model", "host", "machine", "results"},
    "compiled": {"model", "host", "disk", "kvm", "guest", "qemu", "machine", "run", "results"},
    "engines": {"model", "machine", "run", "compiled"},
    "toml_file": {"model"},
    "scenario_file": {"model", "toml_file"},
    "simulation": {"model", "machine", "run", "engines", "results", "traces", "analytic"},
    "report": {"model", "results", "analytic"},
    "compare": {"model", "results", "report"},
    "validate": {"model", "results"},
    "study": {"model", "results", "traces", "toml_file", "scenario_file", "engines", "simulation"},
    "plan": {"model", "results", "toml_file", "simulation", "analytic", "study"},
    "sensitivity": {"model", "results", "toml_file", "simulation", "study"},
    "study_pages": {"model", "results", "analytic", "report", "study", "plan", "sensitivity"},
    "calibrate": {"model", "traces", "toml_file"},
    "drives": {"model", "host", "disk", "traces", "results", "toml_file", "validate"},
    "hosts": {"model", "traces", "calibrate", "validate", "results", "scenario_file", "simulation"},
}
"""What each part of the model may import, itself aside. Everything else in the package stands above these."""

NO_SIMULATION = ["model", "traces", "results", "analytic", "toml_file", "scenario_file", "exports", "report"]
NO_SIMULATION += ["compare", "calibrate"]


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    """The package or top-level module that *path* belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Every module that *path* imports, at its top or later."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            assert node.module is not None
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def parts_imported(path: Path) -> set[str]:
    """The parts of iosim that *path* imports, but its own."""
    own = {name.split(".")[1] for name in imported(path) if name.startswith("iosim.")}
    return own - {part(path)}


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_imports_point_down(name: str) -> None:
    paths = [path for path in modules() if part(path) == name]
    assert paths
    for path in paths:
        assert parts_imported(path) <= LAYERS[name], path.relative_to(PACKAGE)


def test_layers_have_no_cycle() -> None:
    order = list(LAYERS)
    for name, below in LAYERS.items():
        assert all(order.index(other) < order.index(name) for other in below), name


def test_every_part_of_the_package_is_known() -> None:
    above = {"__init__", "__main__", "api", "batch", "cli", "profile_view", "screen"}
    above |= {"calibrate_commands", "trace_commands", "trace_convert", "trace_options", "trace_synth", "trace_view"}
    above |= {"disk_commands", "engine_option", "validate_commands"}
    assert {part(path) for path in modules()} == {*LAYERS, *above}


@pytest.mark.parametrize("name", NO_SIMULATION)
def test_descriptions_and_tables_know_no_engine(name: str) -> None:
    for path in modules():
        if part(path) == name:
            assert not {module.split(".")[0] for module in imported(path)} & {"simpy"}, path.relative_to(PACKAGE)


def test_only_the_host_knows_simpy() -> None:
    users = {part(path) for path in modules() if any(name.split(".")[0] == "simpy" for name in imported(path))}
    assert users == {"host"}


def test_service_models_of_disks_know_neither_engine_nor_clock_nor_chance() -> None:
    others = {"__init__", "build", "queue", "bio", "file", "files", "page_cache", "writeback"}
    models = [path for path in modules() if part(path) == "disk" and path.stem not in others]
    names = ["empirical", "fault", "flash", "geometry", "hdd", "mechanics", "model", "scheduler", "segmented", "ssd"]
    names += ["window"]
    assert sorted(path.stem for path in models) == names
    for path in models:
        assert parts_imported(path) <= {"model"}, path
        assert not imported(path) & {"random", "time", "datetime"}, path


def test_the_model_reads_no_clock_and_no_global_chance() -> None:
    engine = ("model", "host", "disk", "cpu_vmx", "kvm", "guest", "qemu", "machine")
    for path in modules():
        if part(path) in engine:
            assert not {name.split(".")[0] for name in imported(path)} & {"random", "time", "secrets", "uuid"}, path
            used = {
                n.attr for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Attribute)
            }
            assert not used & {"random", "today", "utcnow", "perf_counter", "monotonic", "environ"}, path


def test_the_command_line_imports_heavy_libraries_late() -> None:
    heavy = {"numpy", "pandas", "pyarrow", "matplotlib", "scipy", "simpy", "pydantic", "rich"}
    for name in ("cli", "trace_commands", "calibrate_commands", "disk_commands"):
        tree = ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        roots = {
            alias.name.split(".")[0] if isinstance(node, ast.Import) else str(node.module).split(".")[0]
            for node in top
            for alias in node.names
        }
        assert not roots & heavy
