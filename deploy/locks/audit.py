"""Known vulnerabilities of every locked version. Exit status: 0 none, 1 some, 3 not run, as no database was reached."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).with_name("dev.txt")


def main() -> int:
    """Ask pip-audit, and say plainly what it could not ask."""
    command = ["pip-audit", "--requirement", LOCK, "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(done.stderr, "audit: NOT RUN: no database of vulnerabilities was reached", sep="\n", file=sys.stderr)
        return 3
    unasked = [package for package in packages if "skip_reason" in package]
    found = [(package, one) for package in packages for one in package.get("vulns", ())]
    for package, one in found:
        print(f"{package['name']} {package['version']}: {one['id']}, repaired in {one['fix_versions'] or 'no version'}")
    print(
        f"audit: {len(packages) - len(unasked)} of {len(packages)} versions asked about, {len(found)} weaknesses known"
    )
    if found:
        return 1
    if unasked:
        print(f"audit: NOT RUN for {len(unasked)}: {unasked[0]['skip_reason']}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
