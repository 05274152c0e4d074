"""Import rules, and the cost of imports."""

import re
import subprocess
import sys

from tests.helpers.real_data import REPOSITORY

IMPORT_OF_A_TEST = re.compile(
    r"\b(?:from|import) +tests\.[\w.]*\btest_|\bfrom +tests[\w.]* +import +(?:\([^)]*|.*)\btest_"
)


def test_imports_run_downwards_only():
    linter = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports())"
    done = subprocess.run([sys.executable, "-c", linter], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_importing_opens_no_connection_and_the_package_alone_imports_no_torch():
    code = """
import sys, visionkit, visionkit.cli.main
assert "torch" not in sys.modules
import socket
def refuse(*args, **options): raise AssertionError("a socket was opened")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
from visionkit.cli import advice, data_tools, prediction, scoring, training
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_module_of_the_tests_imports_a_test_module():
    """Scripts in strings do not either. Shared code is in tests/helpers."""
    modules = sorted((REPOSITORY / "tests").rglob("*.py"))
    assert REPOSITORY / "tests" / "test_architecture.py" in modules
    found = {str(path.relative_to(REPOSITORY)): IMPORT_OF_A_TEST.findall(path.read_text()) for path in modules}
    assert {path: imports for path, imports in found.items() if imports} == {}
