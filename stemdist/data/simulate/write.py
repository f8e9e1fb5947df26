"""Stream a simulation to NetCDF or Zarr: one block in memory at a time."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import dask.array
import netCDF4
import numpy as np
import xarray as xr

from stemdist.data.simulate.variable import Variable
from stemdist.errors import MissingDependencyError
from stemdist.files import atomic_path, check_suffix
from stemdist.markers import MADE_BY
from stemdist.progress import bar


def write_blocks(
    target: str | Path,
    *,
    skeleton: xr.Dataset,
    variables: Mapping[str, Variable],
    blocks: Iterable[xr.Dataset],
    block_steps: int,
) -> Path:
    """Write blocks of time steps to ``target``, atomically, and show progress.

    Parameters
    ----------
    target : path
        A new file or store; the suffix says the format: ``.nc`` (NetCDF-4) or ``.zarr``.
    skeleton : xarray.Dataset
        Coordinates, static variables and attributes, over all time steps.
    variables : mapping
        The variables of the blocks by name.
    blocks : iterable of xarray.Dataset
        Consecutive time steps of the variables.
    block_steps : int
        Steps of a block; also the chunk length in time.

    Returns
    -------
    pathlib.Path
        ``target``.

    Raises
    ------
    InputError
        If the suffix is not one of the two.
    OutputError
        If the target cannot be written; its previous content is intact.
    MissingDependencyError
        For ``.zarr`` without the ``[zarr]`` extra.
    """
    target = Path(target)
    check_suffix(target, _WRITERS)
    skeleton = skeleton.assign_attrs({MADE_BY: "stemdist simulate"})
    with atomic_path(target) as part:
        _WRITERS[target.suffix](part, skeleton, variables, blocks, block_steps)
    return target


def _regions(blocks: Iterable[xr.Dataset], n_steps: int) -> Iterator[tuple[slice, xr.Dataset]]:
    """Yield each block with the time steps it holds, and show how many are done."""
    first = 0
    shown = bar(title="simulate", total=n_steps, unit="step", progress=None)
    with shown:
        for block in blocks:
            region = slice(first, first + block.sizes["time"])
            yield region, block
            first = region.stop
            shown.update(block.sizes["time"])


def _write_netcdf(
    path: Path,
    skeleton: xr.Dataset,
    variables: Mapping[str, Variable],
    blocks: Iterable[xr.Dataset],
    block_steps: int,
) -> None:
    n_steps = skeleton.sizes["time"]
    skeleton.to_netcdf(path, engine="netcdf4", unlimited_dims=["time"])
    auxiliary = [str(name) for name in skeleton.coords if name not in skeleton.dims]
    with netCDF4.Dataset(path, "a") as file:
        for name, variable in variables.items():
            made = file.createVariable(
                name,
                "f4",
                ("time", *variable.dims),
                zlib=True,
                complevel=1,
                shuffle=True,
                chunksizes=(min(block_steps, n_steps), *(skeleton.sizes[d] for d in variable.dims)),
                fill_value=np.float32("nan"),
            )
            made.setncatts(variable.attrs)
            if auxiliary:
                made.setncattr("coordinates", " ".join(auxiliary))
        for region, block in _regions(blocks, n_steps):
            for name in variables:
                file[name][region] = block[name].values


def _write_zarr(
    path: Path,
    skeleton: xr.Dataset,
    variables: Mapping[str, Variable],
    blocks: Iterable[xr.Dataset],
    block_steps: int,
) -> None:
    if importlib.util.find_spec("zarr") is None:
        raise MissingDependencyError(
            "writing a .zarr store needs zarr: pip install 'stemdist[zarr]', or write a .nc file"
        )
    n_steps = skeleton.sizes["time"]
    template = skeleton.assign(
        {
            name: (
                ("time", *variable.dims),
                dask.array.full(  # type: ignore[no-untyped-call]
                    (n_steps, *(skeleton.sizes[dim] for dim in variable.dims)),
                    np.nan,
                    dtype=np.float32,
                    chunks=(block_steps, *(-1 for _ in variable.dims)),
                ),
                variable.attrs,
            )
            for name, variable in variables.items()
        }
    )
    # Format 2: the only one with a settled encoding of strings (the location names).
    template.to_zarr(path, mode="w", compute=False, zarr_format=2, consolidated=True)
    for region, block in _regions(blocks, n_steps):
        simulated = block[list(variables)].drop_vars(list(block.coords))
        simulated.to_zarr(path, region={"time": region}, zarr_format=2)


_WRITERS: dict[str, Callable[..., None]] = {".nc": _write_netcdf, ".zarr": _write_zarr}
