"""Wrong scenarios, traces, profiles and options: one line that says what is wrong, exit status 2, nothing written."""

import gzip
import subprocess
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iosim import scenario_file
from iosim.model.costs import parse_profile
from iosim.model.errors import IosimError, ProfileError, ScenarioError, TraceError
from iosim.traces import read_trace
from tests.commandline import SCENARIO, TRACE, run, write_inputs

HEADER = "time_us,op,sector,sectors\n"
PROFILE = (resources.files("iosim") / "profiles" / "vmx-2013.toml").read_text(encoding="utf-8")
GZIP = gzip.compress(TRACE.encode(), mtime=0)
VIRTIO = 'interface = "virtio-blk"\n'
OTHERS = (
    "others are qemu-log, simpletrace, kvm, block, blkparse, fio-iolog, fio-lat, fio-bw, accesses, msr, alibaba, "
    "tencent, spc, fiu, vscsi, disksim, mqsim, heimdall"
)
FOLDER = None
"""Stands for the content of a name that is a folder."""
RUN = ("run", "scenario.toml", "--out", "out")


class Case(NamedTuple):
    """Files that differ from the good ones, the command, and the one line that it gives behind ``iosim: ``."""

    files: Mapping[str, str | bytes | None]
    message: str
    arguments: tuple[str, ...] = RUN


def scenario(old: str, new: str, message: str) -> Case:
    """The good scenario with *old* replaced."""
    assert SCENARIO.count(old) == 1, old
    return Case({"scenario.toml": SCENARIO.replace(old, new)}, message)


DRIVE = """model = "disksim"
heads = 2
seek = [[1, "1ms"]]
[[host.disk.zone]]
first_cylinder = 0
cylinders = 5
sectors_per_track = 9
[[host.disk.zone]]
first_cylinder = 10
cylinders = 1
sectors_per_track = 8
"""


def drive_disk(old: str, new: str, rule: str, place: str = "sda") -> Case:
    """The good scenario with a drive for its disk, and *old* in that replaced by *new* once."""
    assert old in DRIVE
    text = DRIVE.replace(old, new, 1)
    return scenario('model = "constant"\nservice = "90us"\n', text, f"scenario.toml: host.disk.{place}.{rule}")


def disk(text: str, rule: str, between: str = ".") -> Case:
    """The good scenario with *text* in the table of its disk."""
    return scenario('"90us"', f'"90us"\n{text}', f"scenario.toml: host.disk.sda{between}{rule}")


def added(text: str, message: str) -> Case:
    """The good scenario with *text* behind its last line, which is in the table of the drive."""
    return Case({"scenario.toml": f"{SCENARIO}{text}\n"}, message)


def trace(lines: str, message: str) -> Case:
    """A trace of these lines below the right header."""
    return Case({"trace.csv": HEADER + lines}, message)


def profile(old: str, new: str, message: str) -> Case:
    """The shipped profile vmx-2013 with the first *old* replaced."""
    assert old in PROFILE, old
    text = SCENARIO.replace('"vmx-2013"', '"own.toml"')
    return Case({"scenario.toml": text, "own.toml": PROFILE.replace(old, new, 1)}, message)


def command(*arguments: str, message: str) -> Case:
    """Another command on the good files."""
    return Case({}, message, arguments)


SCENARIOS = {
    "missing file": command("run", "nope.toml", message="nope.toml: No such file or directory"),
    "folder instead of file": Case({"scenario.toml": FOLDER}, "scenario.toml: Is a directory"),
    "empty file": Case({"scenario.toml": ""}, "scenario.toml: host is required"),
    "binary junk": Case({"scenario.toml": b"\x00\xff\xfe\x80"}, "scenario.toml: is not a text file"),
    "bad TOML": Case(
        {"scenario.toml": "[host\n"},
        "scenario.toml: is not TOML: Expected ']' at the end of a table declaration (at line 1, column 6)",
    ),
    "nested beyond reading": Case(
        {"scenario.toml": "a = " + "[" * 100_000},
        "scenario.toml: is not TOML that can be read: too many brackets inside each other",
    ),
    "number beyond reading": Case(
        {"scenario.toml": "a = " + "1" * 5000},
        "scenario.toml: is not TOML that can be read: a number of more than 4300 digits",
    ),
    "unknown key": added('cach = "none"', "scenario.toml: vm.web.drive.0.cach is not a key; did you mean cache?"),
    "unknown table": Case({"scenario.toml": f"[nets]\n{SCENARIO}"}, "scenario.toml: nets is not a key"),
    "wrong type": scenario(
        "[[vm]]\n", '[[vm]]\ncount = "2"\n', "scenario.toml: vm.web.count must be a whole number, got '2'"
    ),
    "table instead of array": scenario(
        "[[host.disk]]",
        "[host.disk]",
        "scenario.toml: host.disk must be an array of tables, [[host.disk]], got a table",
    ),
    "number without unit": scenario(
        '"90us"', "90", 'scenario.toml: host.disk.sda.service must be a time with its unit, such as "90us", got 90'
    ),
    "wrong unit": scenario(
        '"90us"',
        '"90 usec"',
        "scenario.toml: host.disk.sda.service must have one of the units ns, us, ms, s, min, h, got '90 usec'",
    ),
    "size in a unit of time": added(
        'size = "20s"',
        "scenario.toml: vm.web.drive.0.size must have one of the units B, KiB, MiB, GiB, TiB, got '20s'",
    ),
    "negative time": scenario(
        '"90us"', '"-90us"', "scenario.toml: host.disk.sda.service must not be negative, got '-90us'"
    ),
    "fraction of a nanosecond": scenario(
        '"90us"', '"0.1ns"', "scenario.toml: host.disk.sda.service must be a whole number of nanoseconds, got '0.1ns'"
    ),
    "huge time": scenario(
        '"90us"', '"1e300h"', "scenario.toml: host.disk.sda.service must be shorter than 146 years, got '1e300h'"
    ),
    "huge size": added(
        'size = "1e40GiB"',
        "scenario.toml: vm.web.drive.0.size must be at most 2^48 sectors, the limit of LBA48, got '1e40GiB'",
    ),
    "huge number": scenario(
        "[[vm]]\n",
        "[[vm]]\ncount = 99999999999999999999999999\n",
        "scenario.toml: vm.web.count must be at most 4096, got 99999999999999999999999999",
    ),
    "half a sector": added(
        'size = "768B"', "scenario.toml: vm.web.drive.0.size must be a positive multiple of 512 bytes, got '768B'"
    ),
    "zero count": scenario("[[vm]]\n", "[[vm]]\ncount = 0\n", "scenario.toml: vm.web.count must be at least 1, got 0"),
    "NaN": added(
        '[[vm.background]]\nreason = "CPUID"\nrate = nan',
        "scenario.toml: vm.web.background.0.rate must be a finite number, got nan",
    ),
    "infinite": added(
        '[[vm.background]]\nreason = "CPUID"\nrate = inf',
        "scenario.toml: vm.web.background.0.rate must be a finite number, got inf",
    ),
    "no time at all": Case(
        {"scenario.toml": f'[run]\nduration = "0s"\n{SCENARIO}'},
        "scenario.toml: run.duration must be longer than 0, got '0s'",
    ),
    "warm-up beyond the end": Case(
        {"scenario.toml": f'[run]\nwarmup = "5s"\nduration = "2s"\n{SCENARIO}'},
        "scenario.toml: run.warmup must be shorter than run.duration, got 5s and 2s",
    ),
    "window that ends first": Case(
        {"scenario.toml": f'[run]\nwindow = {{ start = "2s", end = "1s" }}\n{SCENARIO}'},
        "scenario.toml: run.window.end must come after start, got 1s and 2s",
    ),
    "clones beyond the clock": scenario(
        "[[vm]]\n",
        '[[vm]]\ncount = 4\noffset = "876000h"\n',
        "scenario.toml: vm.web.offset times the clones before the last must be shorter than 146 years, "
        "got 3153600000s times 3",
    ),
    "run beyond the clock": scenario(
        '"90us"',
        '"1000000h"',
        "scenario.toml: the run takes more than 292 years of simulated time, the end of the clock",
    ),
    "name with a blank": scenario(
        'name = "web"',
        'name = "web site"',
        "scenario.toml: vm.0.name may have letters, digits, '.', '_' and '-' only, got 'web site'",
    ),
    "duplicated VM": added(
        '[[vm]]\nname = "web"\n[[vm.drive]]\ncache = "none"\ntrace = "trace.csv"',
        "scenario.toml: vm has the name web twice",
    ),
    "duplicated disk": scenario(
        "[[vm]]\n",
        '[[host.disk]]\nname = "sda"\nmodel = "ssd"\n[[vm]]\n',
        "scenario.toml: host.disk has the name sda twice",
    ),
    "duplicated index": added(
        'index = 2\n[[vm.drive]]\nindex = 2\ncache = "none"\ntrace = "trace.csv"',
        "scenario.toml: vm.web.drive has index 2 twice",
    ),
    "five drives": added(
        '[[vm.drive]]\ncache = "none"\ntrace = "trace.csv"\n' * 4,
        "scenario.toml: vm.web.drive must have at most 4 entries with interface ide, got 5",
    ),
    "17 drives": added(
        '[[vm.drive]]\ninterface = "virtio-blk"\ncache = "none"\ntrace = "trace.csv"\n' * 16,
        "scenario.toml: vm.web.drive must have at most 16 entries, got 17",
    ),
    "ring of 100": added(
        "queue_size = 100", "scenario.toml: vm.web.drive.0.queue_size must be a power of two, got 100"
    ),
    "ring of 2": added("queue_size = 2", "scenario.toml: vm.web.drive.0.queue_size must be at least 4, got 2"),
    "port accesses of virtio-blk": added(
        f'{VIRTIO}replay = "ports"',
        "scenario.toml: vm.web.drive.0.interface must be ide with replay ports, got 'virtio-blk'",
    ),
    "port accesses in a dataset": added(
        'replay = "ports"\ntrace_format = "msr"',
        "scenario.toml: vm.web.drive.0.trace_format must be one of auto, accesses, qemu-log, kvm, perf-script, "
        "trace-cmd, ftrace with replay ports, got 'msr'",
    ),
    "port accesses beside another drive": added(
        'replay = "ports"\n[[vm.drive]]\ntrace = "trace.csv"',
        "scenario.toml: vm.web.drive.0 must be the only drive of its channel with replay ports",
    ),
    "port accesses out of requests": added(
        'replay = "ports"',
        "trace.csv: has no port accesses that can be read: it must be one of csv, kvm, qemu-log, parquet",
    ),
    "iothread without ioeventfd": added(
        f"{VIRTIO}iothread = true\nioeventfd = false",
        "scenario.toml: vm.web.drive.0.iothread needs ioeventfd, got ioeventfd false",
    ),
    "iothread with a line": added(
        f'{VIRTIO}iothread = "io"\nirq = "line"', "scenario.toml: vm.web.drive.0.iothread needs irq irqfd, got 'line'"
    ),
    "iothread in QEMU 1.6": Case(
        {"scenario.toml": SCENARIO.replace("[[vm]]\n", '[[vm]]\nqemu = "1.6"\n') + f"{VIRTIO}iothread = true\n"},
        "scenario.toml: vm.web.drive.0.iothread needs qemu 7.2, got qemu '1.6'",
    ),
    "two polling times of one iothread": added(
        f'{VIRTIO}iothread = "io"\n[[vm.drive]]\n{VIRTIO}iothread = "io"\npoll_max_ns = 0\n'
        'cache = "none"\ntrace = "trace.csv"',
        "scenario.toml: vm.web.drive.1.poll_max_ns must be that of the other drives of iothread io, 32768, got 0",
    ),
    "unknown disk": added('disk = "sdb"', "scenario.toml: vm.web.drive.0.disk must be one of sda, got 'sdb'"),
    "which of two disks": scenario(
        "[[vm]]\n",
        '[[host.disk]]\nname = "sdb"\nmodel = "ssd"\n[[vm]]\n',
        "scenario.toml: vm.web.drive.0.disk is required where there are several disks: sda, sdb",
    ),
    "unknown disk model": scenario(
        '"constant"',
        '"tape"',
        "scenario.toml: host.disk.sda.model must be one of constant, empirical, hdd, disksim, ssd, got 'tape'",
    ),
    "disk without model": scenario(
        'model = "constant"\n',
        "",
        "scenario.toml: host.disk.sda needs model = one of constant, empirical, hdd, disksim, ssd",
    ),
    "drive with zones in each other": drive_disk(
        "cylinders = 5",
        "cylinders = 20",
        "zone must begin behind the one before, got first_cylinder = 10 behind 0 with 20 cylinders",
    ),
    "drive with nothing but spare sectors": drive_disk(
        "sectors_per_track = 9",
        "sectors_per_track = 9\nspares = 90",
        "zone must keep sectors for data, got 90 unused and spare ones of 90 from cylinder 0 on",
    ),
    "drive with slips that fall": drive_disk(
        "sectors_per_track = 9",
        "sectors_per_track = 9\nslips = [3, 2]",
        "slips must rise, got 3 and then 2",
        "sda.zone.0",
    ),
    "drive with a seek of no distance": drive_disk("[[1,", "[[0,", "seek must begin with distance 1 or more, got 0"),
    "drive with seeks out of order": drive_disk(
        '[[1, "1ms"]]', '[[2, "1ms"], [2, "2ms"]]', "seek must have rising distances, got 2 and then 2"
    ),
    "drive with nothing but a write segment": drive_disk(
        "heads = 2",
        "heads = 2\nsegments = 1\nwrite_segment = true",
        "segments must be at least 2 with write_segment, got 1",
    ),
    "unknown scheduler": disk(
        'scheduler = "cfq"',
        "scheduler must be one of 'none', 'deadline', 'c-scan', got 'cfq'",
    ),
    "device with less room than servers": disk(
        "queue_depth = 2\nservers = 4", "queue_depth must be at least servers, got 2 and 4"
    ),
    "disk window that ends first": disk(
        'window = [{start = "2s", end = "1s", stuck = true}]', "window.0.end must come after start, got 1s and 2s"
    ),
    "window without an effect": disk(
        'window = [{start = "1s", end = "2s"}]',
        "window.0.factor, add or stuck = true is required, one of them, got none",
    ),
    "window with two effects": disk(
        'window = [{start = "1s", end = "2s", factor = 2.0, add = "1ms"}]',
        "window.0.factor, add or stuck = true is required, one of them, got factor and add",
    ),
    "windows that overlap": disk(
        'window = [{start = "1s", end = "3s", factor = 2.0}, {start = "2s", end = "4s", stuck = true}]',
        "window must not overlap another, got 1s to 3s and one from 2s",
    ),
    "window of no time at all": disk(
        'window = [{start = "1s", end = "2s", factor = 0.0001}]',
        "window.0.factor must be at least 0.001, got 0.0001",
    ),
    "fault of no operation": disk("fault = [{ops = []}]", "fault.0.ops must have at least one entry, got 0"),
    "fault of an unknown operation": disk(
        'fault = [{ops = ["trim"]}]', "fault.0.ops.0 must be one of 'read', 'write', 'flush', got 'trim'"
    ),
    "fault with an unknown error": disk(
        'fault = [{error = "EINVAL"}]', "fault.0.error must be one of 'EIO', 'ENOSPC', got 'EINVAL'"
    ),
    "fault that never happens": disk("fault = [{probability = 0.0}]", "fault.0.probability must be above 0, got 0.0"),
    "fault that ends first": disk(
        'fault = [{start = "2s", end = "2s"}]', "fault.0.end must come after start, got 2s and 2s"
    ),
    "policy of writes for reads": added(
        'rerror = "enospc"',
        "scenario.toml: vm.web.drive.0.rerror must be one of 'report', 'stop', 'ignore', got 'enospc'",
    ),
    "negative retries": added("retries = -1", "scenario.toml: vm.web.drive.0.retries must be at least 0, got -1"),
    "reset without a boot time": added(
        '[[vm.event]]\nat = "1s"\nkind = "reset"',
        "scenario.toml: vm.web.boot is required with an event of kind reset",
    ),
    "storm without a duration": added(
        '[[vm.event]]\nat = "1s"\nkind = "signal"\nrate = 10.0',
        "scenario.toml: vm.web.event.0.duration is required for a storm of signals",
    ),
    "storm without a rate": added(
        '[[vm.event]]\nat = "1s"\nkind = "signal"\nduration = "1s"',
        "scenario.toml: vm.web.event.0.rate is required for a storm of signals",
    ),
    "storm of resets": added(
        '[[vm.event]]\nat = "1s"\nkind = "stop"\nrate = 10.0\nduration = "1s"',
        "scenario.toml: vm.web.event.0.rate must be left out unless kind is signal, got kind stop",
    ),
    "images larger than the disk": disk('capacity = "32KiB"', "has 64 sectors, the images on it need 72", between=": "),
    "garbage collection without a size": scenario(
        'model = "constant"\nservice = "90us"',
        'model = "ssd"\nover_provisioning = 0.1',
        "scenario.toml: host.disk.sda.capacity is required with over_provisioning",
    ),
    "garbage collection without spare blocks": scenario(
        'model = "constant"\nservice = "90us"',
        'model = "ssd"\ncapacity = "64MiB"\nover_provisioning = 0.1',
        "scenario.toml: host.disk.sda.over_provisioning must leave each unit two blocks more than its 1024 pages fill, "
        "got 5 blocks of 256 pages",
    ),
    "write buffer smaller than a page": scenario(
        'model = "constant"\nservice = "90us"',
        'model = "ssd"\nwrite_buffer = "2KiB"',
        "scenario.toml: host.disk.sda.write_buffer must hold a page, got 2KiB and 4KiB",
    ),
    "unknown driver": added(
        'driver = "ahci"',
        "scenario.toml: vm.web.drive.0.driver must be one of 'libata', 'bare-poll', 'bare-irq', got 'ahci'",
    ),
    "unknown interface": added(
        'interface = "scsi"', "scenario.toml: vm.web.drive.0.interface must be one of 'ide', 'virtio-blk', got 'scsi'"
    ),
    "unknown QEMU": scenario(
        "[[vm]]\n", '[[vm]]\nqemu = "2.0"\n', "scenario.toml: vm.web.qemu must be one of '1.6', '7.2', got '2.0'"
    ),
    "unknown profile": scenario(
        '"vmx-2013"',
        '"vmx-2099"',
        "scenario.toml: host.profile must be one of pvm-nested, vmx-2013, vmx-2017, or a .toml file, got 'vmx-2099'",
    ),
    "unknown exit reason": added(
        '[[vm.background]]\nreason = "CPU_ID"\nrate = 10',
        "scenario.toml: vm.web.background.0.reason must be one of EXCEPTION_NMI, EXTERNAL_INTERRUPT, TRIPLE_FAULT, "
        "PENDING_INTERRUPT, NMI_WINDOW, TASK_SWITCH, CPUID, HLT, INVD, INVLPG, RDPMC, VMCALL, VMCLEAR, VMLAUNCH, "
        "VMPTRLD, VMPTRST, VMREAD, VMRESUME, VMWRITE, VMOFF, VMON, CR_ACCESS, DR_ACCESS, IO_INSTRUCTION, MSR_READ, "
        "MSR_WRITE, MWAIT_INSTRUCTION, MONITOR_INSTRUCTION, PAUSE_INSTRUCTION, MCE_DURING_VMENTRY, "
        "TPR_BELOW_THRESHOLD, APIC_ACCESS, EPT_VIOLATION, EPT_MISCONFIG, WBINVD, XSETBV, got 'CPU_ID'",
    ),
    "no CPU": scenario("[host]\n", "[host]\ncpus = 0\n", "scenario.toml: host.cpus must be at least 1, got 0"),
    "slice of nothing": scenario(
        "[host]\n", '[host]\ncpus = 1\nslice = "10ns"\n', "scenario.toml: host.slice must be at least 1us, got '10ns'"
    ),
    "affinity without CPUs": scenario(
        "[[vm]]\n", "[[vm]]\ncpus = [0]\n", "scenario.toml: vm.web.cpus needs host.cpus, the number of CPUs"
    ),
    "queues of a legacy device": added(
        'interface = "virtio-blk"\ntransport = "pio"\nnum_queues = 2',
        "scenario.toml: vm.web.drive.0.num_queues above 1 needs qemu 7.2, transport 'mmio' and irq 'irqfd', got 2",
    ),
    "no vCPU": scenario("[[vm]]\n", "[[vm]]\nvcpus = 0\n", "scenario.toml: vm.web.vcpus must be at least 1, got 0"),
    "interrupts for a vCPU that is not there": scenario(
        "[[vm]]\n",
        "[[vm]]\nvcpus = 2\nirq_vcpu = 2\n",
        "scenario.toml: vm.web.irq_vcpu must be below vcpus, which is 2, got 2",
    ),
    "load of nothing": added("[vm.load]\nshare = 0.0", "scenario.toml: vm.web.load.share must be above 0, got 0.0"),
    "native without O_DIRECT": scenario(
        'cache = "none"',
        'cache = "writeback"\naio = "native"',
        "scenario.toml: vm.web.drive.0.aio native needs cache none or directsync with qemu 7.2, got 'writeback'",
    ),
    "io_uring on an old host": command(
        *RUN,
        "--set",
        'vm.web.kernel="3.10"',
        "--set",
        'vm.web.drive.0.aio="io_uring"',
        message="scenario.toml: vm.web.drive.0.aio io_uring needs qemu 7.2 and kernel 6.1, got 7.2 and 3.10",
    ),
    "page cache too small": scenario(
        "[host]\n",
        '[host]\npage_cache = { size = "8KiB" }\n',
        "scenario.toml: host.page_cache.size must be at least 16KiB, got '8KiB'",
    ),
    "dirty ratio": scenario(
        "[host]\n",
        "[host]\npage_cache = { dirty_ratio = 101 }\n",
        "scenario.toml: host.page_cache.dirty_ratio must be at most 100, got 101",
    ),
    "cluster size": added(
        'cluster_size = "4MiB"',
        "scenario.toml: vm.web.drive.0.cluster_size must be a power of two from 512B to 2MiB, got '4MiB'",
    ),
    "backing and preallocation": added(
        'format = "qcow2"\nbacking = "1MiB"\npreallocation = "metadata"',
        "scenario.toml: vm.web.drive.0.backing must be left out with preallocation metadata",
    ),
    "qcow2 image too large": added(
        'format = "qcow2"\ncluster_size = "512B"\nsize = "129GiB"',
        "scenario.toml: vm.web.drive.0: a qcow2 image with clusters of 512B has at most 128GiB, got 129GiB",
    ),
    "limits of the total and of a side": added(
        "throttling = {bps_total = '1MiB', bps_write = '1MiB'}",
        "scenario.toml: vm.web.drive.0.throttling.bps_total must not be given together with bps_write",
    ),
    "burst below the limit": added(
        "throttling = {iops_read = 100, iops_read_max = 99}",
        "scenario.toml: vm.web.drive.0.throttling.iops_read_max must be at least iops_read, got 99 and 100",
    ),
    "burst length without burst": added(
        "throttling = {iops_read = 100, iops_read_max_length = 2}",
        "scenario.toml: vm.web.drive.0.throttling.iops_read_max_length must be given together with iops_read_max",
    ),
    "iops_size without iops": added(
        "throttling = {bps_read = '1MiB', iops_size = '4KiB'}",
        "scenario.toml: vm.web.drive.0.throttling.iops_size must be given together with iops_total, iops_read or "
        "iops_write",
    ),
    "bursts of QEMU 1.6": scenario(
        "[[vm.drive]]\n",
        "qemu = '1.6'\n[[vm.drive]]\nthrottling = {iops_total = 100, iops_total_max = 200}\n",
        "scenario.toml: vm.web.drive.0.throttling.iops_total_max must be left out with qemu 1.6, which has no bursts",
    ),
    "L2 cache of QEMU 1.6": scenario(
        "[[vm.drive]]\n",
        "qemu = '1.6'\n[[vm.drive]]\nformat = 'qcow2'\nl2_cache_size = '1MiB'\n",
        "scenario.toml: vm.web.drive.0.l2_cache_size must be left out with qemu 1.6, which has 16 L2 tables",
    ),
    "bare metal beyond LBA28": added(
        'driver = "bare-poll"\nmax_sectors = 512',
        "scenario.toml: vm.web.drive.0.max_sectors must be at most 256 with driver bare-poll, which knows LBA28 only, "
        "got 512",
    ),
    "NUL in a file name": scenario(
        '"trace.csv"',
        '"trace\\u0000.csv"',
        "scenario.toml: vm.web.drive.0.trace must be the name of a file, got 'trace\\x00.csv'",
    ),
    "long value": scenario(
        'name = "web"',
        f'name = "{"x" * 200}"',
        f"scenario.toml: vm.{'x' * 200}.name must have at most 64 characters, got '{'x' * 56}...",
    ),
    "table of an empirical disk": scenario(
        'model = "constant"\nservice = "90us"',
        'model = "empirical"\ntable = "nope.csv"',
        "scenario.toml: host.disk.sda.table cannot be read: nope.csv: No such file or directory",
    ),
}

TRACES = {
    "missing file": scenario('"trace.csv"', '"nope.csv"', "nope.csv: No such file or directory"),
    "folder instead of file": Case({"trace.csv": FOLDER}, "trace.csv: Is a directory"),
    "empty file": Case({"trace.csv": ""}, "trace.csv: is empty"),
    "empty gzip file": Case({"trace.csv": gzip.compress(b"", mtime=0)}, "trace.csv: is empty"),
    "truncated gzip": Case(
        {"trace.csv": GZIP[:-12]},
        "trace.csv: is cut short: its gzip data has no end",
    ),
    "damaged gzip": Case(
        {"trace.csv": GZIP[:-8] + bytes(4) + GZIP[-4:]},
        "trace.csv: is a damaged gzip file",
    ),
    "truncated zstd": Case({"trace.csv": b"\x28\xb5\x2f\xfd\x00"}, "trace.csv: is cut short: its zstd data has no end"),
    "binary junk": Case({"trace.csv": bytes(range(256))}, "trace.csv: is not a text file"),
    "not UTF-8": Case({"trace.csv": b"time_us\xff\n"}, "trace.csv: is not a text file"),
    "some other text": Case(
        {"trace.csv": "hello\n"},
        f"trace.csv:1: is no known trace: a canonical CSV begins with time_us,op,sector,sectors, {OTHERS}, got 'hello'",
    ),
    "header only": trace("", "trace.csv: has no requests"),
    "unknown column": Case(
        {"trace.csv": "time_us,op,sector,sectors,latency_us\n0,W,0,8,90\n"},
        "trace.csv:1: the header must be time_us,op,sector,sectors, got 'time_us,op,sector,sectors,latency_us'",
    ),
    "three fields": trace("0,W,0,8\n5,W,0\n", "trace.csv:3: a line must have 4 fields, got 3"),
    "five fields": trace("0,W,0,8,90\n", "trace.csv:2: a line must have 4 fields, got 5"),
    "blank line": trace("0,W,0,8\n\n5,W,0,8\n", "trace.csv:3: the line is blank"),
    "unknown operation": trace("0,W,0,8\n5,D,0,8\n", "trace.csv:3: op must be R, W or F, got 'D'"),
    "time is no number": trace(
        "soon,W,0,8\n", "trace.csv:2: time_us must be a decimal number of microseconds, got 'soon'"
    ),
    "time with underscores": trace(
        "1_000,W,0,8\n", "trace.csv:2: time_us must be a decimal number of microseconds, got '1_000'"
    ),
    "NaN": trace("nan,W,0,8\n", "trace.csv:2: time_us must be a decimal number of microseconds, got 'nan'"),
    "negative time": trace("-1.5,W,0,8\n", "trace.csv:2: time must not be negative, got -1.5 us"),
    "time going back": trace(
        "0,W,0,8\n10.25,W,0,8\n10.125,W,0,8\n", "trace.csv:4: time must not go back, got 10.125 us after 10.25 us"
    ),
    "the first bad line": trace(
        "5,W,0,8\n0,W,0,8\n6,W,0,0\n", "trace.csv:3: time must not go back, got 0 us after 5 us"
    ),
    "half a nanosecond": trace(
        "0.0005,W,0,8\n", "trace.csv:2: time_us must be a whole number of nanoseconds, got '0.0005'"
    ),
    "huge time": trace("1e300,W,0,8\n", "trace.csv:2: time_us must be below 146 years, got '1e300'"),
    "huge sector": trace(
        "0,W,99999999999999999999,8\n", "trace.csv:2: sector must be at most 2^48, got '99999999999999999999'"
    ),
    "sum of two huge numbers": trace(
        "0,W,4611686018427387904,4611686018427387904\n",
        "trace.csv:2: sector must be at most 2^48, got '4611686018427387904'",
    ),
    "beyond LBA48": trace(
        "0,W,281474976710655,8\n", "trace.csv:2: sectors must end at or before 2^48, got 281474976710663"
    ),
    "negative sector": trace("0,W,-8,8\n", "trace.csv:2: sector must not be negative, got -8"),
    "write of nothing": trace("0,W,0,0\n", "trace.csv:2: a read or write must have at least 1 sector, got 0"),
    "flush with an address": trace("0,F,8,1\n", "trace.csv:2: a flush must have sector 0 and 0 sectors, got 8 and 1"),
    "half a sector": trace("0,W,0.5,8\n", "trace.csv:2: sector must be a whole number, got '0.5'"),
    "beyond the disk": added(
        'size = "32KiB"', "trace.csv:3: sectors must end at or before 64 (vm.web.drive.0.size), got 72"
    ),
    "beyond LBA28 on bare metal": Case(
        {"scenario.toml": f'{SCENARIO}driver = "bare-irq"\n', "trace.csv": f"{HEADER}0,W,268435450,8\n"},
        "trace.csv:2: sectors must end at or before 268435456 (vm.web.drive.0.driver bare-irq knows LBA28 only), "
        "got 268435458",
    ),
    "QEMU log without commands": Case(
        {"trace.csv": "1@1.000000:ide_reset IDEstate 0x1\n"},
        "trace.csv: has no read, write or flush command (ide_ioport_write to 0x1f7 or 0x177, virtio_blk_handle_*)",
    ),
    "QEMU log without IDE events": Case(
        {"trace.csv": "1@1.000000:kvm_run_exit cpu_index 0, reason 2\n"},
        "trace.csv:1: is no known trace: a canonical CSV begins with time_us,op,sector,sectors, "
        f"{OTHERS}, got '1@1.000000:kvm_run_exit cpu_index 0, reason 2'",
    ),
    "QEMU log without times": Case(
        {"trace.csv": "ide_ioport_write IDE PIO wr @ 0x1f7 (Command); val 0xca; bus 0x1 IDEState 0x2\n"},
        "trace.csv:1: the log has no time stamps (QEMU: -msg timestamp=on)",
    ),
    "QEMU log cut within a line": Case(
        {"trace.csv": "1@1.000000:ide_ioport_write IDE PIO wr @ 0x1f7 (Comm\n"},
        "trace.csv:1: is no ide_ioport_write as QEMU prints it, "
        "got '1@1.000000:ide_ioport_write IDE PIO wr @ 0x1f7 (Comm'",
    ),
}

PROFILES = {
    "missing file": scenario('"vmx-2013"', '"nope.toml"', "nope.toml: No such file or directory"),
    "bad TOML": profile('name = "vmx-2013"', "name =", "own.toml: is not TOML: Invalid value (at line 1, column 7)"),
    "without a name": profile('name = "vmx-2013"', "", "own.toml: name must be a text, got None"),
    "unknown key": profile(
        'name = "vmx-2013"', 'name = "own"\nyear = 2013', "own.toml: year is not a key of a profile"
    ),
    "unknown cost": profile(
        "[cost.guest.reg_w]", "[cost.guest.reg_x]", "own.toml: cost.guest.reg_x is not a cost of the model"
    ),
    "missing cost": profile(
        '[cost.guest.block_layer]\nvalue = "1.2us"\nkind = "assumed"\n'
        'source = "no source found; a few hundred guest instructions and their cache misses"\n',
        "",
        "own.toml: cost.guest.block_layer is missing",
    ),
    "bad figure": profile(
        'value = "1.2us"',
        'value = "1.2 lightyears"',
        "own.toml: cost.guest.block_layer must have one of the units ns, us, ms, s, min, h, got '1.2 lightyears'",
    ),
    "negative figure": profile(
        'value = "1.2us"', 'value = "-1us"', "own.toml: cost.guest.block_layer must not be negative, got '-1us'"
    ),
    "figure of a year": profile(
        'value = "1.2us"', 'value = "8760h"', "own.toml: cost.guest.block_layer must be at most 1 h, got '8760h'"
    ),
    "bad cycles": profile(
        'value = "60 cycles"',
        'value = "sixty cycles"',
        "own.toml: cost.guest.reg_w must be a number of cycles such as \"350 cycles\", got 'sixty cycles'",
    ),
    "cycles without a clock": profile(
        "cycles_per_us = 2600\n",
        "",
        "own.toml: cost.guest.reg_w is given in cycles, but the profile has no cycles_per_us",
    ),
    "no figure": profile(
        'value = "1.2us"\n',
        "",
        "own.toml: cost.guest.block_layer needs one of value, quantiles, mixture, distribution, got none",
    ),
    "unknown kind": profile(
        'kind = "assumed"',
        'kind = "guessed"',
        "own.toml: cost.guest.block_layer needs kind = one of published, measured, derived, assumed, included, "
        "got 'guessed'",
    ),
    "without source": profile(
        'source = "no source found; a few hundred guest instructions and their cache misses"\n',
        "",
        "own.toml: cost.guest.block_layer needs source, a text, got None",
    ),
    "falling quantiles": profile(
        'value = "1.2us"',
        'quantiles = [[0, "2us"], [0.5, "1us"], [1, "3us"]]',
        "own.toml: cost.guest.block_layer quantiles must not fall, got '1us' after '2us'",
    ),
    "quantiles that do not end": profile(
        'value = "1.2us"',
        'quantiles = [[0, "2us"], [0.5, "3us"]]',
        "own.toml: cost.guest.block_layer quantiles must have rising probabilities from 0 to 1, got [0.0, 0.5]",
    ),
    "NaN among quantiles": profile(
        'value = "1.2us"',
        'quantiles = [[0, "2us"], [nan, "3us"]]',
        "own.toml: cost.guest.block_layer quantiles must be a list of [probability, time], got [nan, '3us'] in it",
    ),
    "distribution without its mean": profile(
        'value = "1.2us"',
        'distribution = "exponential"',
        "own.toml: cost.guest.block_layer distribution must be exponential (mean), uniform (low, high) "
        "or lognormal (median, sigma), got 'exponential' with nothing",
    ),
    "exponential of mean 0": profile(
        'value = "1.2us"',
        'distribution = "exponential"\nmean = "0us"',
        "own.toml: cost.guest.block_layer mean must be longer than 0, got '0us'",
    ),
}

OPTIONS = {
    "no scenario": command("run", message="Missing argument 'scenarios'."),
    "unknown command": command("simulate", message="No such command 'simulate'."),
    "unknown engine": command(
        *RUN,
        "--engine",
        "fast",
        message="Invalid value for '--engine': must be one of simpy, compiled, auto, got 'fast'",
    ),
    "--set without value": command(*RUN, "--set", "run.seed", message="--set must be key.path=value, got 'run.seed'"),
    "--set of an unknown key": command(
        *RUN, "--set", "run.sede=2", message="scenario.toml: run.sede is not a key; did you mean seed?"
    ),
    "--set of an unknown VM": command(*RUN, "--set", "vm.db.count=2", message="--set vm.db.count has no element 'db'"),
    "--set of the second drive": command(
        *RUN, "--set", "vm.web.drive.1.cache=none", message="--set vm.web.drive.1.cache has no element 1"
    ),
    "--set through a value": command(
        *RUN, "--set", "host.profile.name=x", message="--set host.profile.name goes through a value that is no table"
    ),
    "output is a file": command("run", "scenario.toml", "--out", "trace.csv", message="trace.csv: is not a folder"),
    "output below a file": command(
        "run", "scenario.toml", "--out", "trace.csv/x", message="trace.csv/x: cannot be made, trace.csv is not a folder"
    ),
    "output is no result": Case(
        {"out/notes.txt": "mine"}, "out: is not empty and no result of an earlier run; choose another folder"
    ),
    "output has another summary": Case(
        {"out/summary.json": "[1]"}, "out: is not empty and no result of an earlier run; choose another folder"
    ),
    "output is the working folder": command(
        "run", "scenario.toml", "--out", ".", message=".: is the working folder or above it; choose another folder"
    ),
    "output holds the trace": Case(
        {
            "out/summary.json": '{"summary_version": 1, "iosim": "0.1.0"}',
            "out/trace.csv": TRACE,
            "scenario.toml": SCENARIO.replace('"trace.csv"', '"out/trace.csv"'),
        },
        "out: holds out/trace.csv, which the scenario reads; choose another folder",
    ),
    "two scenarios of one name": command(
        "run",
        "scenario.toml",
        "./scenario.toml",
        "--out",
        "out",
        message="out/scenario: two scenarios of the batch have the same name",
    ),
    "batch into a result": Case(
        {"out/summary.json": '{"summary_version": 1, "iosim": "0.1.0"}', "b.toml": SCENARIO},
        "out: is the result of one scenario; choose another folder for a batch",
        ("run", "scenario.toml", "b.toml", "--out", "out"),
    ),
    "profiles of an unknown name": command(
        "profiles",
        "vmx",
        message="a profile is one of pvm-nested, vmx-2013, vmx-2017, or a .toml file, got 'vmx'",
    ),
    "trace check of no trace": command(
        "trace",
        "check",
        "scenario.toml",
        message="scenario.toml:1: is no known trace: a canonical CSV begins with time_us,op,sector,sectors, "
        f"{OTHERS}, got '[host]'",
    ),
    "trace check of an unknown format": command(
        "trace",
        "check",
        "trace.csv",
        "--format",
        "btt",
        message="--format must be one of csv, parquet, "
        f"{OTHERS.removeprefix('others are ')}, perf-script, trace-cmd, ftrace, fio, "
        "got 'btt'",
    ),
    "trace info of a missing file": command("trace", "info", "nope.csv", message="nope.csv: No such file or directory"),
}

ALL = {
    f"{group}: {name}": case
    for group, cases in (("scenario", SCENARIOS), ("trace", TRACES), ("profile", PROFILES), ("options", OPTIONS))
    for name, case in cases.items()
}


def prepare(folder: Path, case: Case) -> None:
    write_inputs(folder)
    for name, content in case.files.items():
        path = folder / name
        path.unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True)
        if content is FOLDER:
            path.mkdir()
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("case", ALL.values(), ids=ALL.keys())
def test_one_line_status_2_and_nothing_written(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(tmp_path, case)
    before = contents(tmp_path)
    monkeypatch.chdir(tmp_path)
    answer = run(capsys, *case.arguments)
    assert answer.err == f"iosim: {case.message}\n"
    assert (answer.status, answer.out) == (2, "")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["scenario: unknown key", "trace: truncated gzip", "options: output is no result"])
def test_the_same_from_a_shell(name: str, tmp_path: Path) -> None:
    prepare(tmp_path, ALL[name])
    before = contents(tmp_path)
    command_line = [sys.executable, "-m", "iosim", *ALL[name].arguments]
    answer = subprocess.run(command_line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout, answer.stderr) == (2, "", f"iosim: {ALL[name].message}\n")
    assert contents(tmp_path) == before


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["90us", "1e999999999s", "1e40GiB", "4KiB", "-1us", "none", "pio", "constant", "..", 10**30]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
KEYS = [
    "run", "run.seed", "run.duration", "run.window", "host", "host.profile", "host.disk", "host.disk.0",
    "host.disk.0.model", "host.disk.0.service", "host.disk.0.seek", "host.disk.0.zones", "host.disk.0.read_ahead",
    "vm", "vm.0", "vm.0.name", "vm.0.count", "vm.0.drive", "vm.0.drive.0", "vm.0.drive.0.size",
    "vm.0.drive.0.cache", "vm.0.drive.0.index", "vm.0.drive.0.cluster_size", "vm.0.drive.0.throttling",
    "vm.0.drive.0.backing", "vm.0.background", "vm.0.event",
]  # fmt: skip


@given(st.sampled_from(KEYS), values)
def test_any_value_of_any_key_is_accepted_or_refused_in_one_line(key: str, value: object) -> None:
    model = "hdd" if key.split(".")[-1] in ("seek", "zones", "read_ahead") else "constant"
    data: dict[str, object] = {
        "run": {},
        "host": {"disk": [{"name": "sda", "model": model} | ({"service": "90us"} if model == "constant" else {})]},
        "vm": [{"name": "web", "drive": [{"cache": "none", "trace": "trace.csv"}]}],
    }
    node: object = data
    *parents, last = key.split(".")
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node[part]  # type: ignore[index]
    node[int(last) if isinstance(node, list) else last] = value  # type: ignore[index]
    try:
        scenario_file.check(data, "scenario.toml")
    except ScenarioError as error:
        assert_one_line(error)


cells = st.sampled_from(
    ["0", "5", "-1", "8", "nan", "inf", "1e400", "1_0", "", " ", "R", "W", "F", "9" * 30, "0.0001", "²"]
)
lines = st.lists(st.lists(cells, min_size=3, max_size=5).map(",".join), max_size=5).map("\n".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines.map(lambda text: (HEADER + text).encode()) | st.binary(max_size=64))
def test_any_trace_is_accepted_or_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(content)
    try:
        found = read_trace(path)
    except TraceError as error:
        assert_one_line(error)
    else:
        assert len(found) == content.count(b"\n") + (not content.endswith(b"\n")) - 1


@given(st.sampled_from(["value", "quantiles", "mixture", "distribution", "kind", "source", "weight"]), values)
def test_any_figure_of_a_profile_is_accepted_or_refused_in_one_line(key: str, value: object) -> None:
    figure = {key: value} | ({} if key in ("kind", "source") else {"kind": "assumed", "source": "a test"})
    try:
        changed = tomli_w.dumps({"cost": {"guest": {"block_layer": figure}}})
    except (TypeError, ValueError):
        return  # TOML has no way to write this value.
    head, _, rest = PROFILE.partition("[cost.guest.block_layer]")
    try:
        parse_profile(head + changed + rest[rest.index("[cost.") :], "own.toml")
    except ProfileError as error:
        assert_one_line(error)


def assert_one_line(error: IosimError) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 1000
