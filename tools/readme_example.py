"""Put the real output of the README's example into the README.

    python tools/readme_example.py [--write]

Without --write the text is printed. The scenario is the one that ``make demo`` runs, in 80 columns.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN = "<!-- begin of the output, by tools/readme_example.py -->\n"
END = "<!-- end of the output -->\n"


def output() -> str:
    """Return what the command of the example prints, as a block of Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "demo"
        command = [sys.executable, "-m", "iosim", "run", "scenarios/linux-ext4.toml", "--out", str(out)]
        environment = os.environ | {"COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
        answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    text = answer.stdout.decode("utf-8").replace(str(out), "reports/demo")
    return f"```\n{text}```\n"


def main() -> None:
    """Print the block, or write it between its marks."""
    block = output()
    if "--write" not in sys.argv[1:]:
        print(block, end="")
        return
    path = ROOT / "README.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, _, behind = rest.partition(END)
    path.write_text(f"{before}{BEGIN}{block}{END}{behind}", encoding="utf-8")


if __name__ == "__main__":
    main()
