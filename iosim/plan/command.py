"""`iosim plan`: a plan file is read, limits are looked for, tables and pictures are written and shown."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from iosim.model.errors import FaultError, IosimError, OutputError, reason
from iosim.plan import plan_file
from iosim.plan.answers import Answered, answer
from iosim.plan.pictures import draw_all
from iosim.plan.question import Question
from iosim.plan.terminal import show
from iosim.study.content import Inputs
from iosim.study.runner import Runner
from iosim.study.store import Store, drop_others
from iosim.study.sweep import check_folder, executor, progress_bar

MARKER = "plan.json"
TABLES = ("values", "resources", "analysis", "ranking", "costs", "front")


def run(
    path: Path,
    out: Path | None,
    options: Sequence[str],
    workers: int | None,
    scheduler: str | None,
    console: Console,
    errors: Console,
) -> None:
    """Answer the plan in *path* and write tables and pictures to *out* (default: reports/NAME). Raises IosimError.

    *options* ("key.path=value") change the base. Progress is shown on *errors* if it is a terminal.
    """
    question = Question(plan_file.load(path), path, options)
    folder = Path("reports") / path.stem if out is None else out
    check_folder(folder, MARKER)

    def say(text: str) -> None:
        errors.print(Text(text), soft_wrap=True)

    inputs = Inputs()
    with progress_bar(errors) as bar:
        task = bar.add_task(f"{path.stem}: checking", total=None, what="points")
        targets = question.check(inputs, lambda done, total: bar.update(task, completed=done, total=total))
    with executor(workers, scheduler, say) as crew, Store(folder / "store") as store, progress_bar(errors) as bar:
        task = bar.add_task(path.stem, total=None, what="runs")
        runner = Runner(store, crew, inputs)
        whole = Runner(store, crew, inputs, (folder / "runs").absolute())
        runner.progress = whole.progress = lambda done, total: bar.update(task, completed=done, total=total)
        try:
            found = answer(
                question, targets, runner, whole, lambda text: bar.reset(task, description=f"{path.stem}: {text}")
            )
        except KeyboardInterrupt:
            bar.stop()
            say(f"What is finished is kept in {folder}/; the same command goes on from there.")
            raise
        except (IosimError, FaultError) as error:
            raise type(error)(f"{path}: {error}") from None
        write(folder, found)
    show(console, path.stem, found)
    console.print(Text(f"Written to {folder}/; iosim report {folder} makes a page of it"), soft_wrap=True)


def write(folder: Path, found: Answered) -> None:
    """Write tables, pictures and `plan.json`, each whole or not at all; what an earlier plan left goes away.

    Raises OutputError.
    """
    made = folder / "store" / "unfinished"
    try:
        for name, table in found.tables.items():
            table.to_parquet(made / f"{name}.parquet", index=False, compression="zstd")
        (made / MARKER).write_text(json.dumps(found.facts, indent=1) + "\n", encoding="utf-8")
        pictures = draw_all(found, made)
        files = [*(f"{name}.parquet" for name in found.tables), *pictures, MARKER]
        for name in files:
            os.replace(made / name, folder / name)
        for name in ("ranking", "costs", "front"):
            if name not in found.tables:
                (folder / f"{name}.parquet").unlink(missing_ok=True)
                (folder / f"{name}.png").unlink(missing_ok=True)
        drop_others(folder / "runs", found.kept)
    except OSError as error:
        raise OutputError(f"{folder}: {reason(error)}") from None
