"""Every error a job may end with. Each class has its exit code; a message names the thing, the expected, the found."""


class ProfilingError(Exception):
    """Base of all errors that users are meant to read. Exit code 1: nothing more specific is known."""

    exit_code = 1


class ConfigError(ProfilingError):
    """The command line or a settings file is wrong; nothing was started."""

    exit_code = 2


class EnvironmentProblem(ProfilingError):
    """Java, the Delta jars, package versions, memory or the storage path are not as needed."""

    exit_code = 3


class InputError(ProfilingError):
    """The input is absent, empty or cannot be read."""

    exit_code = 4


class QualityError(ProfilingError):
    """A rule's threshold was passed; nothing of this run was published."""

    exit_code = 5


class ContractError(ProfilingError):
    """A frame does not have the columns, types or keys that its table promises."""

    exit_code = 6


class StorageError(ProfilingError):
    """The storage root is locked by another run, or a table cannot be read or written."""

    exit_code = 7


class ModelError(ProfilingError):
    """A stored model is absent, damaged, or does not fit its declaration."""

    exit_code = 8


EXIT_CODES: dict[int, str] = {
    0: "done (also when a task was skipped for thin data; the summary says which)",
    **{
        cls.exit_code: (cls.__doc__ or "").strip()
        for cls in (
            ProfilingError,
            ConfigError,
            EnvironmentProblem,
            InputError,
            QualityError,
            ContractError,
            StorageError,
            ModelError,
        )
    },
}
