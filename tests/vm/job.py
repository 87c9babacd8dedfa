"""What runs inside the VM: the command, its directory and its environment, as small files that
travel in the initrd and that guest/init and guest/run-job read.

  settings   shell variables for guest/init
  keep       directories, one a line, that must stay visible in the VM at their own path
  command    shell script that becomes the command
"""

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SUITE = "tests/integration"

# Variables of the caller that mean the same in the VM.
_PASSED_ON = {"PATH", "HOME", "LANG", "LANGUAGE", "TERM", "TZ", "CI", "COLUMNS"}
_PASSED_ON_PREFIXES = ("LC_", "PODD_", "PYTEST_", "ASAN_", "UBSAN_", "LSAN_", "MESON_")


@dataclass
class Job:
    """One command for one VM."""

    command: list[str]
    directory: Path
    systemd: bool = False
    export: Path | None = None
    variables: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_arguments(cls, arguments: list[str], **options) -> "Job":
        """A selection of tests, to be run from the project's root, or any other command, to be
        run where the caller is."""
        if _selects_tests(arguments):
            named = any(_is_test_path(argument) for argument in arguments)
            paths = [] if named else [SUITE]
            pytest = ["/usr/bin/python3", "-m", "pytest", *paths, *arguments]
            return cls(pytest, PROJECT, **options)
        return cls(arguments, Path.cwd(), **options)

    def files(self, modules_root: Path) -> dict[str, str]:
        """The files of this job by name."""
        settings = {
            "MODE": "systemd" if self.systemd else "plain",
            "MODULES_ROOT": str(modules_root),
            "EXPORT": str(self.export or ""),
        }
        return {
            "settings": "".join(f"{name}={shlex.quote(v)}\n" for name, v in settings.items()),
            "keep": "".join(f"{path}\n" for path in dict.fromkeys((PROJECT, self.directory))),
            "command": self._script(),
        }

    def _script(self) -> str:
        variables = {
            name: value
            for name, value in os.environ.items()
            if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
        }
        variables |= {"PODD_VM": "systemd" if self.systemd else "plain"} | self.variables
        lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        lines.append(f"cd {shlex.quote(str(self.directory))} || exit 125")
        lines.append(f"exec {shlex.join(self.command)}")
        return "\n".join(lines) + "\n"


def _selects_tests(arguments: list[str]) -> bool:
    """Whether the arguments are for pytest: none at all, or first an option or a test path."""
    return not arguments or arguments[0].startswith("-") or _is_test_path(arguments[0])


def _is_test_path(argument: str) -> bool:
    path = argument.split("::")[0]
    return path == SUITE or path.startswith(SUITE + "/")
