"""Stream a simulation to NetCDF or Zarr: one block in memory at a time."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import dask.array
import netCDF4
import numpy as np
import xarray as xr
from tqdm import tqdm

from stemdist.data.simulate.base import Simulation
from stemdist.errors import InputError, MissingDependencyError
from stemdist.files import atomic_path


def write_simulation(simulation: Simulation, target: str | Path, *, block_steps: int = 288) -> Path:
    """Write a simulation to ``target``, atomically, with a progress bar on a terminal.

    Parameters
    ----------
    simulation : Simulation
        What to write.
    target : path
        A new file or store; the suffix says the format: ``.nc`` (NetCDF-4) or ``.zarr``.
    block_steps : int
        Output steps simulated, held and written at a time; also the chunk length in time.

    Returns
    -------
    pathlib.Path
        ``target``.

    Raises
    ------
    InputError
        If the suffix is not one of the two.
    OutputError
        If the target cannot be written; what stood there before is intact.
    MissingDependencyError
        For ``.zarr`` without the ``[zarr]`` extra.
    """
    target = Path(target)
    if target.suffix not in _WRITERS:
        raise InputError(
            f"cannot tell the format of {str(target)!r} from its suffix {target.suffix!r}: "
            f"name it with one of {', '.join(sorted(_WRITERS))}"
        )
    with atomic_path(target) as part:
        _WRITERS[target.suffix](simulation, part, block_steps)
    return target


def _blocks_with_bar(
    simulation: Simulation, block_steps: int
) -> Iterator[tuple[slice, xr.Dataset]]:
    first = 0
    with tqdm(total=simulation.n_steps, unit="step", disable=None) as bar:
        for block in simulation.blocks(block_steps):
            region = slice(first, first + block.sizes["time"])
            yield region, block
            first = region.stop
            bar.update(block.sizes["time"])


def _write_netcdf(simulation: Simulation, path: Path, block_steps: int) -> None:
    skeleton = simulation.skeleton()
    skeleton.to_netcdf(path, engine="netcdf4", unlimited_dims=["time"])
    auxiliary = [str(name) for name in skeleton.coords if name not in skeleton.dims]
    with netCDF4.Dataset(path, "a") as file:
        for name, variable in simulation.variables().items():
            chunk = (
                min(block_steps, simulation.n_steps),
                *(skeleton.sizes[d] for d in variable.dims),
            )
            made = file.createVariable(
                name,
                "f4",
                ("time", *variable.dims),
                zlib=True,
                complevel=1,
                shuffle=True,
                chunksizes=chunk,
                fill_value=np.float32("nan"),
            )
            made.setncatts(variable.attrs)
            if auxiliary:
                made.setncattr("coordinates", " ".join(auxiliary))
        for region, block in _blocks_with_bar(simulation, block_steps):
            for name in simulation.variables():
                file[name][region] = block[name].values


def _write_zarr(simulation: Simulation, path: Path, block_steps: int) -> None:
    if importlib.util.find_spec("zarr") is None:
        raise MissingDependencyError(
            "writing a .zarr store needs zarr: pip install 'stemdist[zarr]', or write a .nc file"
        )
    skeleton = simulation.skeleton()
    template = skeleton.assign(
        {
            name: (
                ("time", *variable.dims),
                dask.array.full(  # type: ignore[no-untyped-call]
                    (simulation.n_steps, *(skeleton.sizes[dim] for dim in variable.dims)),
                    np.nan,
                    dtype=np.float32,
                    chunks=(block_steps, *(-1 for _ in variable.dims)),
                ),
                variable.attrs,
            )
            for name, variable in simulation.variables().items()
        }
    )
    # Format 2: the only one with a settled encoding of strings (the location names).
    template.to_zarr(path, mode="w", compute=False, zarr_format=2, consolidated=True)
    for region, block in _blocks_with_bar(simulation, block_steps):
        simulated = block[list(simulation.variables())].drop_vars(list(block.coords))
        simulated.to_zarr(path, region={"time": region}, zarr_format=2)


_WRITERS: dict[str, Callable[[Simulation, Path, int], None]] = {
    ".nc": _write_netcdf,
    ".zarr": _write_zarr,
}
