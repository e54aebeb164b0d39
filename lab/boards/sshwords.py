"""ssh to a board by labgrid's driver, with what ssh says where it does not get through."""

from __future__ import annotations

import logging
from typing import Any

from labgrid.strategy import StrategyError


class _Words(logging.Handler):
    """Keeps the last that labgrid's SSHDriver logs of ssh: a line or two for each try, a try a second."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Note a line that says something."""
        if said := record.getMessage().removeprefix("ssh: ").removeprefix("ssh: ").strip():
            self.last = said


def connect(ssh: Any) -> None:
    """Activate labgrid's SSHDriver ``ssh``. Raises StrategyError in ssh's words, or as labgrid does."""
    words, logger = _Words(), ssh.logger
    logger.addHandler(words)
    logger.propagate = False  # nobody else wants them one by one
    try:
        ssh.target.activate(ssh)
    except Exception as error:  # labgrid raises a bare one when its time is over
        if not words.last:
            raise
        service = ssh.networkservice
        raise StrategyError(f"no ssh at {service.address}:{service.port}: {words.last}") from error
    finally:
        logger.propagate = True
        logger.removeHandler(words)
