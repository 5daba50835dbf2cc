"""Every error a job may end with. Each class has its exit code and what it means to a user; a message names the thing,
the expected and the found.
"""


class ProfilingError(Exception):
    """Base of all errors that users are meant to read. Exit code 1: nothing more specific is known."""

    exit_code = 1
    meaning = "something unexpected; run again with --verbose"


class ConfigError(ProfilingError):
    """The command line or a settings file is wrong; nothing was started."""

    exit_code = 2
    meaning = "the command line or the settings are wrong; nothing was started"


class EnvironmentProblem(ProfilingError):
    """Java, the Delta jars, package versions, memory or the storage path are not as needed."""

    exit_code = 3
    meaning = "Java, the Delta jars, packages or the storage are not as needed: see doctor"


class InputError(ProfilingError):
    """The input is absent, empty or cannot be read."""

    exit_code = 4
    meaning = "input is absent, empty or cannot be read; what could be read was loaded"


class QualityError(ProfilingError):
    """A rule's threshold was passed; nothing of this run was published."""

    exit_code = 5
    meaning = "more rows were refused than the settings allow; nothing was published"


class ContractError(ProfilingError):
    """A frame does not have the columns, types or keys that its table promises."""

    exit_code = 6
    meaning = "rows or keys are not as a table's contract promises"


class StorageError(ProfilingError):
    """The storage root is locked by another run, or a table cannot be read or written."""

    exit_code = 7
    meaning = "another run writes to the storage, or it cannot be read or written"


class ModelError(ProfilingError):
    """A stored model is absent, damaged, or does not fit its declaration."""

    exit_code = 8
    meaning = "a stored model is absent or damaged; --refit makes a new one"


_ALL = (
    ProfilingError, ConfigError, EnvironmentProblem, InputError, QualityError, ContractError, StorageError, ModelError,
)  # fmt: skip
EXIT_CODES: dict[int, str] = {
    0: "done; a task that was skipped for thin data says so",
    **{cls.exit_code: cls.meaning for cls in _ALL},
}
"""For users: what a process ended with."""
