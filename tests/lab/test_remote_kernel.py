"""The kernelspec "Python 3 (nbfn remote)" passes the public test suite for Jupyter kernels."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import jupyter_kernel_test

from tests.conftest import a_home

from .kernels import PATIENCE, Kernel, started


class TestPublicSuite(jupyter_kernel_test.KernelTests):
    """All tests of the suite; their code runs in the session."""

    kernel_name = "nbfn-remote"
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    completion_samples: ClassVar = [
        {"text": "zi", "matches": {"zip"}},
        {"text": "%%loc", "matches": {"%%local"}},
    ]
    complete_code_samples: ClassVar = [
        "1",
        "print('hello, world')",
        "def f(x):\n  return x*2\n\n\n",
    ]
    incomplete_code_samples: ClassVar = ["print('''hello", "def f(x):\n  x*2"]
    invalid_code_samples: ClassVar = ["import = 7q"]
    code_page_something = "zip?"
    code_generate_error = "raise"
    code_execute_result: ClassVar = [
        {"code": "1+2+3", "result": "6"},
        {"code": "[n*n for n in range(1, 4)]", "result": "[1, 4, 9]"},
    ]
    code_display_data: ClassVar = [
        {
            "code": "from IPython.display import HTML, display; display(HTML('<b>x</b>'))",
            "mime": "text/html",
        },
        {
            "code": "from IPython.display import Math, display; display(Math('x'))",
            "mime": "text/latex",
        },
    ]
    code_history_pattern = "1?2*"
    # IPython itself calls the running session 0 in a range, which the suite does not expect.
    supported_history_operations = ("tail", "search")
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = contextlib.ExitStack()
        home = cls.stack.enter_context(a_home())
        kernel = Kernel(cls.kernel_name, home)
        cls.stack.callback(kernel.close)
        cls.km, cls.kc = kernel.manager, kernel.client
        first = kernel.run("import os; os.environ['NBFN_SESSION_OF']")
        assert "started in" in first.notes  # the only cell that has this line
        assert first.result.startswith("'wk-")  # and all runs there

    @classmethod
    def tearDownClass(cls) -> None:
        cls.stack.close()


def own_word(message: dict[str, Any]) -> bool:
    """Return whether a message is neither a reply nor caused by a subscription."""
    return not message["parent_header"] and message["msg_type"] in ("status", "stream")


class TestItsFirstWord(jupyter_kernel_test.IopubWelcomeTests):
    """The other class of the suite. A kernel sends a welcome for each new subscription, so this must be the first."""

    kernel_name = "nbfn-remote"
    support_iopub_welcome = True

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = contextlib.ExitStack()
        home = cls.stack.enter_context(a_home())
        cls.km = started(cls.kernel_name, home)
        cls.stack.callback(cls.km.context.destroy, linger=0)
        cls.stack.callback(cls.km.shutdown_kernel)
        cls.kc = cls.km.client()
        cls.stack.callback(cls.kc.stop_channels)
        receive = cls.kc.get_iopub_msg

        # A subscription is in force before the kernel has read it: what a kernel says by itself when it
        # starts (its status, the debugger's warning) may come in between.
        def receive_welcome() -> dict[str, Any] | None:
            message: dict[str, Any] = receive(timeout=PATIENCE)
            return None if own_word(message) else message

        cls.kc.get_iopub_msg = receive_welcome

    @classmethod
    def tearDownClass(cls) -> None:
        cls.stack.close()
