"""``stemdist simulate``: simulated data of any size, written block by block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stemdist.cli.answer import Result
from stemdist.cli.console import Console, bytes_text, print_fields, print_next
from stemdist.cli.outputs import output_file
from stemdist.data.simulate import make_simulation


def simulate(
    name: str,
    *,
    output: str | None = None,
    settings: Mapping[str, Any] | None = None,
    block_steps: int = 288,
    console: Console,
) -> Result:
    """Write simulated data to a file; memory does not grow with its length.

    Parameters
    ----------
    name : str
        Simulator: traffic-sim, weather-sim or navier-stokes, or one that a plug-in adds.
    output : str, optional
        File to write, .nc or .zarr; by default NAME.nc. A file of that name is replaced.
    settings : mapping, optional
        What to change, e.g. days=7,seed=1; a wrong name lists all.
    block_steps : int
        Time steps simulated and written at a time.

    Examples
    --------
      stemdist simulate traffic-sim -o traffic.nc --settings days=28,n_sensors=1000,seed=1
      stemdist simulate weather-sim -o weather.zarr --settings days=365,n_lat=64,n_lon=96
      stemdist simulate navier-stokes -o flow.nc --settings trajectories=100,viscosity=1e-4

    Days are simulated days; step_minutes is the time between two steps.
    """
    simulation = make_simulation(name, **(settings or {}))
    target = output_file(
        output or f"{name}.nc", (".nc", ".zarr"), command="simulate", force=console.force
    )
    simulation.write(target, block_steps=block_steps)
    variables = ", ".join(
        f"{key} ({made.attrs.get('units', '1')})" for key, made in simulation.variables().items()
    )
    steps = f"{simulation.n_steps} every {simulation.step_minutes} min"
    fields = [("written", str(target)), ("variables", variables), ("time steps", steps)]
    if target.is_file():
        fields.append(("size", bytes_text(target.stat().st_size)))
    print_fields(f"simulated {name}", fields)
    first = next(iter(simulation.variables()))
    print_next([f"stemdist distill {target} --variable {first}"])
    values = {
        "variables": {key: made.attrs.get("units") for key, made in simulation.variables().items()},
        "steps": simulation.n_steps,
        "step_minutes": simulation.step_minutes,
    }
    return Result(values=values, written=[target])
