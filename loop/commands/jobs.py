"""What is done to a job that is there, whoever runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from data.errors import BadInput
from loop.options import Common


@dataclass(frozen=True)
class Stop(Common):
    """Stop a job: at its next step, after a checkpoint, or at once where nothing works on it."""

    job: Annotated[Positional[int], arg(metavar="JOB")]
    """Its number, as `prefloop status` shows it."""

    def run(self) -> None:
        """Ask it to; whoever runs it looks at every step."""
        from loop.runs import ENDED, again, put_down

        store = self.store()
        with store.database.write():
            job = store.jobs.get(self.job)
            if job.status in ENDED:
                raise BadInput(f"job {job.id} has ended: it is {job.status}")
            store.jobs.request_stop(job.id)
            store.audit.record(None, "stop job", f"job {job.id}", kind=job.kind)
        put_down(store, self.workspace, job)
        status = store.jobs.get(job.id).status
        said = "stopped" if status in ENDED else "to stop at its next step"
        self.show({"job": job.id, "status": status}, f"job {job.id} is {said}; go on with it by "
                  f"{again(self.workspace, job)}")
