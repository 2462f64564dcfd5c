"""kvm_vmx_exit_handlers and the KVM_EXIT codes, against Linux 3.10 as documented; every row runs."""

import re
from pathlib import Path
from typing import Any

import pytest

from iosim.kvm import EXIT_TABLE, ExitReason, KvmExit
from iosim.machine import background_exit
from iosim.model.catalogue import CATALOGUE
from iosim.model.errors import ScenarioError
from iosim.model.scenario import BackgroundTable
from tests.support import constant_profile, scenario, simulate

DOMAIN = Path(__file__).parents[2] / "shared" / "docs" / "domain.md"

KERNEL, USERSPACE = True, False

# Number, EXIT_REASON_ name, handler, usual result, KVM_EXIT codes of the userspace cases.
# Handlers that emulate an instruction may end in whatever the emulator ends in: IO 2, MMIO 6, INTERNAL_ERROR 17.
EXPECTED = [
    (0, "EXCEPTION_NMI", "handle_exception", KERNEL, {1, 4, 6, 17}),
    (1, "EXTERNAL_INTERRUPT", "handle_external_interrupt", KERNEL, set()),
    (2, "TRIPLE_FAULT", "handle_triple_fault", USERSPACE, {8}),
    (7, "PENDING_INTERRUPT", "handle_interrupt_window", KERNEL, {7}),
    (8, "NMI_WINDOW", "handle_nmi_window", KERNEL, set()),
    (9, "TASK_SWITCH", "handle_task_switch", KERNEL, {17}),
    (10, "CPUID", "handle_cpuid", KERNEL, set()),
    (12, "HLT", "handle_halt", KERNEL, {5}),
    (13, "INVD", "handle_invd", KERNEL, {2, 6, 17}),
    (14, "INVLPG", "handle_invlpg", KERNEL, set()),
    (15, "RDPMC", "handle_rdpmc", KERNEL, set()),
    (18, "VMCALL", "handle_vmcall", KERNEL, set()),
    (19, "VMCLEAR", "handle_vmclear", KERNEL, set()),
    (20, "VMLAUNCH", "handle_vmlaunch", KERNEL, set()),
    (21, "VMPTRLD", "handle_vmptrld", KERNEL, set()),
    (22, "VMPTRST", "handle_vmptrst", KERNEL, set()),
    (23, "VMREAD", "handle_vmread", KERNEL, set()),
    (24, "VMRESUME", "handle_vmresume", KERNEL, set()),
    (25, "VMWRITE", "handle_vmwrite", KERNEL, set()),
    (26, "VMOFF", "handle_vmoff", KERNEL, set()),
    (27, "VMON", "handle_vmon", KERNEL, set()),
    (28, "CR_ACCESS", "handle_cr", KERNEL, {0, 11}),
    (29, "DR_ACCESS", "handle_dr", KERNEL, {4}),
    (30, "IO_INSTRUCTION", "handle_io", USERSPACE, {2}),
    (31, "MSR_READ", "handle_rdmsr", KERNEL, set()),
    (32, "MSR_WRITE", "handle_wrmsr", KERNEL, set()),
    (36, "MWAIT_INSTRUCTION", "handle_invalid_op", KERNEL, set()),
    (39, "MONITOR_INSTRUCTION", "handle_invalid_op", KERNEL, set()),
    (40, "PAUSE_INSTRUCTION", "handle_pause", KERNEL, set()),
    (41, "MCE_DURING_VMENTRY", "handle_machine_check", KERNEL, set()),
    (43, "TPR_BELOW_THRESHOLD", "handle_tpr_below_threshold", KERNEL, set()),
    (44, "APIC_ACCESS", "handle_apic_access", KERNEL, {2, 6, 17}),
    (48, "EPT_VIOLATION", "handle_ept_violation", KERNEL, {0, 6}),
    (49, "EPT_MISCONFIG", "handle_ept_misconfig", USERSPACE, {6, 17}),
    (54, "WBINVD", "handle_wbinvd", KERNEL, set()),
    (55, "XSETBV", "handle_xsetbv", KERNEL, set()),
]

KVM_EXIT_CODES = {
    "UNKNOWN": 0,
    "EXCEPTION": 1,
    "IO": 2,
    "HYPERCALL": 3,
    "DEBUG": 4,
    "HLT": 5,
    "MMIO": 6,
    "IRQ_WINDOW_OPEN": 7,
    "SHUTDOWN": 8,
    "FAIL_ENTRY": 9,
    "INTR": 10,
    "SET_TPR": 11,
    "TPR_ACCESS": 12,
    "NMI": 16,
    "INTERNAL_ERROR": 17,
}

STOPS = {"TRIPLE_FAULT"}
"""Exits whose usual result ends the VM."""


def test_table_is_that_of_the_seeds_kernel() -> None:
    rows = [
        (int(row.reason), row.reason.name, row.handler, row.kernel, {int(code) for code in row.userspace})
        for row in EXIT_TABLE.values()
    ]
    assert rows == EXPECTED


def test_every_reason_has_its_row_under_its_number() -> None:
    assert list(EXIT_TABLE) == list(ExitReason)
    assert all(row.reason is reason for reason, row in EXIT_TABLE.items())


def test_kvm_exit_codes() -> None:
    assert {code.name: int(code) for code in KvmExit} == KVM_EXIT_CODES


def documented_rows() -> list[tuple[int, str, str, set[int]]]:
    """The table of section 6 of the domain reference: number, name, handler, codes of the seed's kernel."""
    section = DOMAIN.read_text(encoding="utf-8").split("\n## 6.")[1].split("\n## 7.")[0]
    rows = []
    for line in section.splitlines():
        cells = [cell.strip().replace("*", "") for cell in line.strip("|").split("|")]
        if len(cells) != 5 or not cells[0][:1].isdigit():
            continue
        number, names, handler, _, userspace = cells
        codes = {int(code) for _, code in re.findall(r"\b([A-Z][A-Z_]+) (\d+)", userspace.split("new")[0])}
        if number == "19–27":
            for name, each in re.findall(r"(VM[A-Z]+) (\d+)", names):
                rows.append((int(each), name, f"handle_{name.lower()}", codes))
            continue
        each_name = [name.split(" (")[0] for name in names.split(" / ")]
        each_handler = handler.split(" / ")
        for n, name, function in zip(number.split("/"), each_name, each_handler, strict=True):
            rows.append((int(n), name, function, codes))
    return rows


@pytest.mark.skipif(not DOMAIN.exists(), reason="the domain reference is not beside the project")
def test_table_is_the_documented_one() -> None:
    emulator = {2, 6, 17}
    documented = documented_rows()
    assert [row[:3] for row in documented] == [row[:3] for row in EXPECTED]
    for (number, _, _, codes), (_, _, _, _, expected) in zip(documented, EXPECTED, strict=True):
        assert codes <= expected, number
        assert expected - codes <= emulator, number


@pytest.mark.skipif(not DOMAIN.exists(), reason="the domain reference is not beside the project")
def test_kvm_exit_codes_are_the_documented_ones() -> None:
    text = DOMAIN.read_text(encoding="utf-8").split("**KVM_EXIT_* codes**: ")[1].split(" (L3.10 ends here)")[0]
    documented = {name: int(code) for name, code in re.findall(r"([A-Z0-9_]+) (\d+)", text)}
    assert KVM_EXIT_CODES.items() <= documented.items()
    others = set(documented) - set(KVM_EXIT_CODES)
    assert others == {
        "S390_SIEIC", "S390_RESET", "DCR", "OSI", "PAPR_HCALL", "S390_UCONTROL", "WATCHDOG", "S390_TSCH", "EPR"
    }  # fmt: skip


@pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])
@pytest.mark.parametrize("reason", [row[1] for row in EXPECTED if row[1] not in STOPS])
def test_declared_exit_takes_its_handlers_way(reason: str, exact: bool) -> None:
    background = [{"reason": reason, "rate": 1000.0, "arrivals": "periodic"}]
    described = scenario(background=background, run={"exact_exits": exact, "duration": "2500us"})
    result = simulate(described, [(100, "W", 0, 1)], constant_profile())
    assert result.requests["status"].tolist() == ["ok"]
    counts: dict[Any, Any] = result.exits.set_index(["reason", "userspace"])["count"].to_dict()
    expected: dict[tuple[str, bool], int] = {("IO_INSTRUCTION", True): 26}
    row = next(row for row in EXPECTED if row[1] == reason)
    key = (reason, not row[3])
    expected[key] = expected.get(key, 0) + 2
    # Three sleeps that ended: at the request's disk, up to the first declared exit, up to the second.
    halts = counts.pop(("HLT", False))
    expected.pop(("HLT", False), None)
    assert counts == expected
    assert halts == 3


@pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])
def test_declared_triple_fault_resets_the_vm(exact: bool) -> None:
    background = [{"reason": "TRIPLE_FAULT", "rate": 1000.0, "arrivals": "periodic"}]
    described = scenario(background=background, run={"exact_exits": exact})
    result = simulate(described, [(100, "W", 0, 1), (2_000_000, "W", 0, 1)], constant_profile())
    assert result.requests["status"].tolist() == ["ok", "error"]


@pytest.mark.parametrize(("reason", "codes"), [(row[1], row[4]) for row in EXPECTED])
def test_only_the_tables_codes_can_be_declared(reason: str, codes: set[int]) -> None:
    for name, code in KVM_EXIT_CODES.items():
        table = BackgroundTable(reason=reason, rate=1.0, kvm_exit=name)
        if code in codes:
            assert background_exit(table).kvm_exit is KvmExit(code)
        else:
            with pytest.raises(ScenarioError, match=f"^kvm_exit of {reason} must be .*, got '{name}'$"):
                background_exit(table)


def test_every_handler_has_a_cost() -> None:
    shared = {f"handle_{name}" for name in ("vmclear", "vmlaunch", "vmptrld", "vmptrst", "vmread", "vmresume")}
    shared |= {"handle_vmwrite", "handle_vmoff", "handle_vmon"}
    keys = {"vmx_instruction" if row[2] in shared else row[2].removeprefix("handle_") for row in EXPECTED}
    assert {f"kvm.handle_{key}" for key in keys} <= set(CATALOGUE)
