"""What an emulator keeps for the target beside it: its variables, a folder for what it remembers, its dead letters.

Knows names of variables and files. Refuses to know processes, and what arrived.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from target_statsig.config.load import TRIAL
from target_statsig.emulator.dead_letters import DeadLetters

if TYPE_CHECKING:
    from pathlib import Path

    from target_statsig.emulator.server import StatsigEmulator

DEAD_LETTERS = "dead-letters"


class Workplace:
    """The target's side of a try-out.

    Attributes:
        folder: Where a target keeps what it remembers; None where it keeps that elsewhere.
        dead_letters: What it gave up on; None where that is kept elsewhere.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Take the folder, which this may empty."""
        self.folder = folder
        self.dead_letters = DeadLetters(folder / DEAD_LETTERS) if folder else None

    def exports(self, emulator: StatsigEmulator) -> dict[str, str]:
        """Return the variables that turn a target and Meltano to the emulator.

        Trying out must not move a real bookmark or touch real memberships: what a run remembers lies in the folder, and
        a target to which its own configuration gives a Statsig elsewhere refuses to run.
        """
        return {
            TRIAL: emulator.url,
            "TARGET_STATSIG_EVENTS_URL": emulator.events_url,
            "TARGET_STATSIG_CONSOLE_URL": emulator.console_url,
            "TARGET_STATSIG_SERVER_SECRET_KEY": emulator.server_secret_key,
            "TARGET_STATSIG_CONSOLE_API_KEY": emulator.console_api_key,
            **self._places(),
            **_past_proxies(),
        }

    def clear(self) -> None:
        """Make the target forget: what it delivered, its members, its bookmarks and its dead letters."""
        for path in self.folder.iterdir() if self.folder else ():
            _remove(path)

    def leave(self) -> Path | None:
        """Remove the folder, but for dead letters: the target has told where they are.

        Returns:
            Where dead letters stay, or None where there are none.
        """
        if self.folder is None:
            return None
        letters = self.folder / DEAD_LETTERS
        if not letters.is_dir() or not any(letters.iterdir()):
            shutil.rmtree(self.folder, ignore_errors=True)
            return None
        for path in self.folder.iterdir():
            if path != letters:
                _remove(path)
        return letters

    def _places(self) -> dict[str, str]:
        if self.folder is None:
            return {}
        return {
            "TARGET_STATSIG_STORE_URL": f"sqlite:///{self.folder / 'store.db'}",
            "TARGET_STATSIG_DEAD_LETTER_PATH": str(self.folder / DEAD_LETTERS),
            "MELTANO_STATE_BACKEND_URI": (self.folder / "state").as_uri(),
        }


def _remove(path: Path) -> None:
    if path.is_dir():
        # A target that is still running may be writing into it.
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _past_proxies() -> dict[str, str]:
    """Return what keeps a configured proxy out of the way to the loopback."""
    if not {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"} & os.environ.keys():
        return {}
    hosts = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    return dict.fromkeys(("no_proxy", "NO_PROXY"), f"{hosts},127.0.0.1" if hosts else "127.0.0.1")
