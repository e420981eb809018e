"""The workspace itself: init, status, the worker, up and the demonstration."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import OmitArgPrefixes

from backbone.config import ModelConfig
from loop.options import Common, MaybeFile, Switch
from loop.output import note
from loop.settings import SETTINGS_NAME
from loop.workspace import Plan, check_seed_of, exists, keep_workspace, make_workspace


@dataclass(frozen=True)
class Init(Common):
    """Make a workspace with its commented settings file; one that is there stays as it is."""

    prompts: MaybeFile = None
    """File of prompts to import (see `prefloop import`)."""

    no_starter_prompts: Switch = False
    """Leave out the prompts that come with prefloop."""

    models: OmitArgPrefixes[ModelConfig] = field(default_factory=ModelConfig)

    def run(self) -> None:
        """Make it, whole or not at all."""
        plan = Plan(self.models, self.seed, not self.no_starter_prompts, self.prompts)
        created = not exists(self.workspace)
        count = (make_workspace if created else keep_workspace)(self.workspace, plan)
        self.show({"workspace": str(self.workspace), "created": created, "prompts": count},
                  f"{'made' if created else 'kept'} {self.workspace} with {count} prompts; "
                  f"its settings are in {self.workspace / SETTINGS_NAME}")


@dataclass(frozen=True)
class Status(Common):
    """Show where every round and job stands, and what to do next."""

    def run(self) -> None:
        """Read the store; nothing is changed."""
        from loop.status import print_status, status_of

        document = status_of(self.store())
        document["next"] = self.here(document["next"])
        self.show(document, lambda: print_status(document))


@dataclass(frozen=True)
class Worker(Common):
    """Run queued jobs, one at a time, until stopped."""

    once: Switch = False
    """End when the queue is empty."""

    def run(self) -> None:
        """Hold the workspace's lock and work."""
        from loop.worker import Worker as Process

        self.store()  # there has to be a workspace
        check_seed_of(self.workspace, self.seed)  # what is wrong is said now, not in every job
        Process(self.workspace).run(self.once)
        self.show({"stopped": True}, "the worker has stopped")


@dataclass(frozen=True)
class Up(Common):
    """Run the whole product on this machine: the app and the worker over one workspace."""

    host: str = "127.0.0.1"
    """Address that the app listens on; 0.0.0.0 lets other machines in."""

    port: int = 8501
    """Port that the app listens on."""

    no_browser: Switch = False
    """Only print the sign-in link, do not open it in a browser."""

    def run(self) -> None:
        """Supervise until Ctrl-C."""
        from loop.up import Machine, make_ready

        if exists(self.workspace):  # a mistake in its settings is said before anything starts
            keep_workspace(self.workspace, Plan(seed=self.seed))
        else:
            count = make_workspace(self.workspace, Plan(seed=self.seed))
            note(f"made {self.workspace} with {count} prompts")
        make_ready(self.store(), self.workspace, self.host, self.port)
        Machine(self.workspace, self.host, self.port).run(self._show_link)

    def _show_link(self, link: str) -> None:
        """Once the app answers."""
        self.show({"link": link, "workspace": str(self.workspace)},
                  f"\nprefloop is running. Sign in as the lead (the link works once):\n\n  {link}\n"
                  "\nCtrl-C stops everything.")
        sys.stdout.flush()
        # Without a display, a text browser could take the terminal over.
        has_display = sys.platform == "darwin" or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
        if has_display and not self.no_browser and sys.stdout.isatty():
            import webbrowser

            webbrowser.open(link)


@dataclass(frozen=True)
class Demo(Common):
    """Run two whole rounds without hands, with simulated labelers, and report on them."""

    workspace: Path = Path("runs/demo")
    """Folder of the workspace; one that a demo was killed in is gone on from, one that is finished
    reported on again."""

    tiny: Switch = False
    """The same code in under a minute on a tiny random model; claims nothing."""

    def run(self) -> None:
        """Run the loop, then show its table."""
        from loop import demo

        demo.run(self.workspace, tiny=self.tiny, seed=self.seed or 0, json=self.json)
