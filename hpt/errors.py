"""Every error a user can meet, and the exit status each branch of the tree maps to.

HptError (1)
├── UsageError (2)            bad arguments
│   ├── ConfigError           a setting is unknown or out of range
│   └── ModelError            loss is not a scalar, model has nothing to train
├── TrainingDiverged (3)      a finding about the run, not a crash of the tool
├── InconclusiveError (4)     evidence too weak, with --strict
├── NothingMeasured (5)       nothing to compare, or not comparable
├── PrerequisiteError (6)     data, device or disk is missing
│   ├── DataError
│   ├── DeviceError
│   └── DiskError
├── OutOfMemory (7)
└── CheckpointError (1)       a stored state cannot be trusted

Messages are one line: field, value, rule, remedy.
"""

EXIT_DONE = 0
EXIT_INTERRUPTED = 130


class HptError(Exception):
    """Base of all expected failures; the command line prints it without a traceback."""

    exit_code = 1


class UsageError(HptError):
    """The call cannot be carried out as it was written."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting is unknown, of the wrong type or out of its range."""


class ModelError(UsageError):
    """The model, optimizer or loss cannot be trained as given."""


class TrainingDiverged(HptError):
    """Recovery was tried and failed; the message names the last checkpoint."""

    exit_code = 3


class InconclusiveError(HptError):
    """The evidence does not decide and the caller asked to be strict."""

    exit_code = 4


class NothingMeasured(HptError):
    """No unit was measured, or none can be compared."""

    exit_code = 5


class PrerequisiteError(HptError):
    """Something outside the program is missing."""

    exit_code = 6


class DataError(PrerequisiteError):
    """Training data is missing, empty or unreadable."""


class DeviceError(PrerequisiteError):
    """The requested device is not there."""


class DiskError(PrerequisiteError):
    """The disk is full or the folder cannot be written."""


class OutOfMemory(HptError):
    """Memory ran out and the retries did not help."""

    exit_code = 7


class CheckpointError(HptError):
    """A checkpoint is truncated, altered or of another schema."""
