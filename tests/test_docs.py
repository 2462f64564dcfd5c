"""The reference pages say what the program does: every key, every column, every function, no more and no less."""

import importlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from iosim import scenario_file
from iosim.kvm import EXIT_TABLE
from iosim.model import scenario as tables
from iosim.model.catalogue import CATALOGUE
from iosim.model.errors import ScenarioError
from iosim.model.stages import Stage
from iosim.qemu.qcow2.versions import DRIVERS, Qcow2Driver
from iosim.qemu.versions import VERSIONS
from iosim.results.result import Result, write
from iosim.simulation import simulate as run_scenario
from tests.support import scenario, simulate

DOCS = Path(__file__).parents[1] / "docs"

Rows = list[dict[str, str]]


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands below the line *heading*, up to the next heading of any level."""
    lines = text.split("\n")
    begin = lines.index(heading) + 1
    end = next((i for i in range(begin, len(lines)) if lines[i].startswith("#")), len(lines))
    return "\n".join(lines[begin:end])


def markdown_tables(text: str) -> list[Rows]:
    """Every table of *text*: a dictionary per row, by the names of the columns."""
    found: list[Rows] = []
    head: list[str] | None = None
    for line in text.split("\n"):
        if not line.startswith("|"):
            head = None
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if head is None:
            head = cells
            found.append([])
        elif set("".join(cells)) != {"-"}:
            assert len(cells) == len(head), line
            found[-1].append(dict(zip(head, cells, strict=True)))
    return found


def code(cell: str) -> str:
    """The text in backquotes that the cell consists of."""
    match = re.fullmatch(r"`([^`]*)`", cell)
    assert match, cell
    return match[1]


# docs/scenario.md

MODELS: dict[str, type[BaseModel]] = {
    "## `[run]`": tables.RunTable,
    "### `[run.window]`": tables.SpanWindow,
    "## `[host]`": tables.HostTable,
    "## `[[host.disk]]`": tables.DiskCommon,
    "### `[[host.disk.window]]`": tables.WindowTable,
    "### `[[host.disk.fault]]`": tables.FaultTable,
    "### `[host.page_cache]`": tables.PageCacheTable,
    '### `model = "constant"`': tables.ConstantDiskTable,
    '### `model = "empirical"`': tables.EmpiricalDiskTable,
    '### `model = "hdd"`': tables.HddTable,
    '### `model = "disksim"`': tables.DisksimTable,
    "### `[[host.disk.zone]]`": tables.ZoneTable,
    '### `model = "ssd"`': tables.SsdTable,
    "## `[[vm]]`": tables.VmTable,
    "## `[[vm.drive]]`": tables.DriveTable,
    "### `[vm.drive.throttling]`": tables.ThrottlingTable,
    "## `[[vm.background]]`": tables.BackgroundTable,
    "## `[vm.load]`": tables.LoadTable,
    "## `[[vm.event]]`": tables.EventTable,
}


def default_of(model: type[BaseModel], name: str) -> str:
    """The default of a key as the page has to write it: TOML in backquotes, a dash for a key that is left out."""
    field = model.model_fields[name]
    if field.is_required():
        return "required"
    if field.default is None:
        return "—"
    part = TypeAdapter(model).dump_python(model.model_construct(**{name: field.default}), mode="json", warnings=False)
    return f"`{json.dumps(part[name])}`"


@pytest.mark.parametrize("heading", MODELS)
def test_every_key_of_a_table_is_documented_with_its_default(heading: str) -> None:
    rows = markdown_tables(section(page("scenario.md"), heading))[0]
    model = MODELS[heading]
    # What all disks have stands once, above their models.
    own = model.__annotations__ if tables.DiskCommon in model.__bases__ else model.model_fields
    assert {code(row["key"]): row["default"] for row in rows} == {name: default_of(model, name) for name in own}
    assert len(rows) == len(own)


def test_every_table_of_the_scenario_is_documented() -> None:
    defined = {tables.Table}
    while more := {model for table in defined for model in table.__subclasses__()} - defined:
        defined |= more
    here = {model for model in defined if model.__module__.startswith("iosim.model.scenario")}
    assert here - set(MODELS.values()) == {tables.Table, tables.Scenario}


def choices(model: type[BaseModel], name: str) -> set[str]:
    """The values of a key that takes one of a few, as TOML."""
    found: set[str] = set()

    def walk(schema: Any) -> None:
        if isinstance(schema, dict):
            found.update(json.dumps(value) for value in schema.get("enum", []))
            if "const" in schema:
                found.add(json.dumps(schema["const"]))
            for value in schema.values():
                walk(value)
        elif isinstance(schema, list):
            for value in schema:
                walk(value)

    walk(model.model_json_schema()["properties"][name])
    return found


@pytest.mark.parametrize("heading", MODELS)
def test_every_value_of_a_choice_is_documented(heading: str) -> None:
    model = MODELS[heading]
    for row in markdown_tables(section(page("scenario.md"), heading))[0]:
        missing = {value for value in choices(model, code(row["key"])) if f"`{value}`" not in row["allowed"]}
        assert not missing, (row["key"], missing)


def example() -> dict[str, Any]:
    blocks = re.findall(r"```toml\n(.*?)```", page("scenario.md"), re.DOTALL)
    assert len(blocks) == 1
    return tomllib.loads(blocks[0])


def test_the_example_runs() -> None:
    described = scenario_file.check(example(), "scenario.md")
    result = run_scenario(described, DOCS)
    counts = result.summary["requests"]
    assert counts["in"] == counts["done"] + counts["failed"] + counts["unfinished"] > 0


REFUSED = markdown_tables(section(page("scenario.md"), "## What is refused, and how"))[0]


@pytest.mark.parametrize("row", REFUSED, ids=[row["`--set`"] for row in REFUSED])
def test_a_refused_change_has_the_documented_message(row: dict[str, str]) -> None:
    data = example()
    scenario_file.apply_change(data, code(row["`--set`"]))
    with pytest.raises(ScenarioError, match=r"^scenario\.md: ") as caught:
        scenario_file.check(data, "scenario.md")
    assert str(caught.value) == f"scenario.md: {row['message']}"


# docs/results.md


@pytest.fixture(scope="module")
def result() -> Result:
    """Every table: PIO mode and DMA, two channels, virtio-blk, a background exit, logged accesses, one CPU."""
    described = scenario(
        [{"transfer": "pio"}, {"index": 2}, {"interface": "virtio-blk", "iothread": "NAME"}],
        run={"log": "ports"},
        host={"cpus": 1},
        background=[{"reason": "MSR_WRITE", "rate": 5000.0}],
    )
    return simulate(described, [(0, "W", 0, 8), (1_000_000, "R", 0, 8), (2_000_000, "F", 0, 0)])


@pytest.mark.parametrize("name", ["requests", "exits", "resources", "functions", "spans", "events", "accesses"])
def test_the_columns_of_a_table_are_documented_in_order(name: str, result: Result) -> None:
    rows = markdown_tables(section(page("results.md"), f"## `{name}`"))[0]
    assert [code(row["column"]) for row in rows] == list(result.tables()[name].columns)


def test_the_columns_of_the_series_are_documented_in_order(result: Result) -> None:
    rows = [code(row["column"]) for row in markdown_tables(section(page("results.md"), "## `series`"))[0]]
    assert rows[-2:] == ["utilisation RESOURCE", "queue RESOURCE"]
    expected = rows[:-2]
    for resource in result.resources["resource"]:
        expected.append(f"utilisation {resource}")
        if not resource.endswith(("/main_loop", "/iothread/NAME")) and resource != "cpu0":
            expected.append(f"queue {resource}")
    assert list(result.series.columns) == expected


def test_the_stages_are_documented_in_order() -> None:
    rows = markdown_tables(section(page("results.md"), "### Stages"))[0]
    assert [code(row["stage"]) for row in rows] == [stage.label for stage in Stage]


def test_the_resources_of_a_run_are_documented(result: Result) -> None:
    rows = markdown_tables(section(page("results.md"), "## `resources`"))[1]
    documented = {name for row in rows for name in re.findall(r"`([^`]*)`", row["resource"])}
    found = set()
    for name in result.resources["resource"]:
        found.add(name.replace("web/", "VM/").replace("disk/sda", "disk/NAME").replace("drive2", "driveN"))
    elsewhere = {"VM/channel0", "VM/channel1", "VM/driveN/qcow2", "VM/driveN/throttle", "page_cache"}
    assert found | elsewhere == documented


def test_the_keys_of_the_summary_are_documented_in_order(result: Result) -> None:
    rows = markdown_tables(section(page("results.md"), "## `summary.json`"))[0]
    documented = [name for row in rows for name in re.findall(r"`([^`]*)`", row["key"])]
    assert documented == list(result.summary)


def test_the_files_of_a_result_are_documented(result: Result, tmp_path: Path) -> None:
    write(result, tmp_path / "out", scenario_file.to_toml(result.scenario))
    rows = markdown_tables(page("results.md"))[0]
    documented = {name for row in rows for name in re.findall(r"`([^`]*)`", row["file"])}
    assert {path.name for path in (tmp_path / "out").iterdir()} == documented


def test_an_unissued_request_has_the_documented_times() -> None:
    rows: list[list[tuple[int, str, int, int]]] = [[(0, "W", 0, 8)], [(0, "W", 0, 8), (500_000, "W", 0, 8)]]
    drives = [{"index": 0}, {"index": 1}]
    failed = simulate(scenario(drives, event=[{"at": "50us", "kind": "shutdown"}]), rows).requests
    assert failed["status"].tolist() == ["error"] * 3
    assert failed["issue_ns"].tolist()[1] == failed["done_ns"].tolist()[1] == failed["done_ns"].tolist()[0]
    assert [failed[name].tolist()[2] for name in ("arrival_ns", "issue_ns", "done_ns")] == [500_000] * 3
    cut = simulate(scenario(drives, run={"duration": "60us"}), rows).requests
    assert cut["status"].tolist() == ["unfinished"] * 2
    times = [cut[name].tolist()[1] for name in ("issue_ns", "done_ns", "latency_ns", "guest_queue_ns")]
    assert times == [60_000] * 4


# docs/path.md

PATH: Rows = [row for table in markdown_tables(page("path.md")) for row in table if "cost key" in row]
PRICED = [row for row in PATH if row["cost key"] != "–"]


def test_every_cost_key_is_in_the_path_once() -> None:
    assert sorted(code(row["cost key"]) for row in PRICED) == sorted(CATALOGUE)


@pytest.mark.parametrize("row", PRICED, ids=[row["cost key"].strip("`") for row in PRICED])
def test_a_row_of_the_path_has_stage_and_function_of_its_key(row: dict[str, str]) -> None:
    key = CATALOGUE[code(row["cost key"])]
    assert (code(row["stage"]), code(row["function"])) == (key.stage.label, key.function)


def resolve(name: str) -> object:
    """The object that the dotted *name* stands for: as much of it as is a module is imported, the rest looked up."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise AssertionError(f"{name} has no module")


@pytest.mark.parametrize("name", sorted({code(row["modelled in"]) for row in PATH}))
def test_what_the_path_names_exists(name: str) -> None:
    assert resolve(name) is not None


def test_every_name_of_the_project_in_the_pages_exists() -> None:
    for path in DOCS.glob("*.md"):
        for name in re.findall(r"`(iosim(?:\.\w+)+)`", path.read_text(encoding="utf-8")):
            assert resolve(name) is not None, (path.name, name)


SEED = re.findall(
    r"\w+",
    """
    main kvm_init qemu_kvm_cpu_thread_fn kvm_cpu_exec kvm_vcpu_ioctl vcpu_enter_guest vmx_vcpu_run vmx_handle_exit
    kvm_vmx_exit_handlers handle_io kvm_arch_process_async_events kvm_arch_put_registers kvm_arch_pre_run
    qemu_mutex_unlock_iothread qemu_mutex_lock_iothread kvm_arch_post_run kvm_handle_io cpu_physical_memory_rw
    qemu_system_reset_request kvm_handle_internal_error kvm_arch_handle_exit cpu_dump_state vm_stop
    vmx_complete_atomic_exit vmx_recover_nmi_blocking vmx_complete_interrupts vmcs_read32
    cpu_outw address_space_write address_space_rw io_mem_write memory_region_dispatch_write
    access_with_adjusted_size memory_region_write_accessor portio_write ide_data_writew ide_sector_write
    bdrv_aio_writev bdrv_co_aio_rw_vector qemu_coroutine_create bdrv_co_do_rw bdrv_co_do_readv raw_co_readv
    bdrv_co_readv bdrv_co_readv_em bdrv_co_io_em raw_aio_readv raw_aio_submit paio_submit thread_pool_submit_aio
    aio_worker bdrv_co_io_em_complete ide_sector_write_cb
    """,
)
"""The functions of the article that the project starts from: its prose, its two listings, its two call stacks."""


@pytest.mark.parametrize("function", SEED)
def test_every_function_of_the_seed_is_in_the_path(function: str) -> None:
    assert f"`{function}`" in page("path.md")


def test_every_handler_of_the_exit_table_is_in_the_path() -> None:
    nested = {f"handle_vm{name}" for name in ("ptrld", "ptrst", "read", "resume", "write", "off")}
    handlers = {row.handler for row in EXIT_TABLE.values()} - nested
    assert {name for name in handlers if f"`{name}`" not in page("path.md")} == set()


def test_the_differences_between_versions_are_documented() -> None:
    rows = next(table for table in markdown_tables(page("path.md")) if "changed in" in table[0])
    fields = [name for name in VERSIONS["1.6"].__dataclass_fields__ if name != "name"]
    assert [(code(row["field"]), row["1.6"], row["7.2"]) for row in rows] == [
        (name, *(in_words(getattr(VERSIONS[version], name)) for version in ("1.6", "7.2"))) for name in fields
    ]


def test_the_differences_between_the_qcow2_drivers_are_documented() -> None:
    rows = next(table for table in markdown_tables(page("path.md")) if "driver" in table[0])
    assert [(code(row["driver"]), row["1.6"], row["7.2"]) for row in rows] == [
        (name, *(in_words(getattr(DRIVERS[version], name)) for version in ("1.6", "7.2")))
        for name in Qcow2Driver._fields
    ]


def in_words(value: object) -> str:
    return {"True": "yes", "False": "no", "None": "–"}.get(str(value), str(value))
