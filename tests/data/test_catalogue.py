"""Recipes: all of ours are right, wrong ones name all their faults, users add their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from stemdist.data.catalogue import (
    CATALOGUE_VARIABLE,
    dataset_recipe,
    graph_recipe,
    list_datasets,
    list_graphs,
    read_recipe,
)
from stemdist.data.readers.base import READERS, ReaderOptions, read
from stemdist.data.recipe import DatasetRecipe, GraphRecipe, Source
from stemdist.data.series import canonical_series
from stemdist.data.simulate import make_simulation
from stemdist.errors import CatalogueError, InputError
from stemdist.files import sha256_of_file
from stemdist.graph import GRAPH_METHODS, GraphSettings

ROOT = Path(__file__).resolve().parents[2]

NAMED_IN_THE_ISSUE = [
    "traffic-sim",
    "weather-sim",
    "era5",
    "era5-uk",
    "air-temperature",
    "metr-la",
    "pems-bay",
    "pems04",
    "pems08",
    "largest-ca",
    "largest-gla",
    "largest-gba",
    "cams",
    "weatherbench2",
    "etth1",
    "etth2",
    "ettm1",
    "ettm2",
    "los-loop",
]


def dataset(**changes: Any) -> dict[str, Any]:
    """Return the mapping of a small data set recipe that is right."""
    return {
        "name": "demo",
        "title": "Demo",
        "summary": "A demo.",
        "kind": "file",
        "instructions": "Make it yourself.",
        "licence": "CC0-1.0",
        "citation": "none",
        "graph": "auto",
        **changes,
    }


def graph(**changes: Any) -> dict[str, Any]:
    """Return the mapping of a small graph recipe that is right."""
    return {"name": "demo", "title": "Demo", "method": "knn", **changes}


class TestOurCatalogue:
    def test_every_file_is_found_and_listed(self) -> None:
        for kind, listed in (("datasets", list_datasets()), ("graphs", list_graphs())):
            files = [path for path in (ROOT / kind).rglob("*") if path.is_file()]
            assert files
            assert sorted(path.stem for path in files) == listed

    def test_names_of_the_issue_are_there(self) -> None:
        assert len(NAMED_IN_THE_ISSUE) == 19
        assert set(NAMED_IN_THE_ISSUE) <= set(list_datasets())

    @pytest.mark.parametrize("name", list_datasets())
    def test_data_set_is_right_and_its_graph_exists(self, name: str) -> None:
        recipe = dataset_recipe(name)
        assert recipe.name == name
        assert recipe.graph in list_graphs()

    @pytest.mark.parametrize("name", list_graphs())
    def test_graph_is_right(self, name: str) -> None:
        assert graph_recipe(name).settings()["method"]

    @pytest.mark.parametrize("name", list_datasets())
    def test_reader_or_simulator_understands_the_recipe(self, name: str) -> None:
        recipe = dataset_recipe(name)
        if recipe.kind == "simulator":
            simulation = make_simulation(str(recipe.simulator), **recipe.settings)
            assert set(recipe.variables) <= set(simulation.variables())
            assert recipe.frequency_minutes == simulation.step_minutes
            return
        options = ReaderOptions(**recipe.reader_options)
        if recipe.reader is None:
            assert options.given() == []
        else:
            assert set(options.given()) <= READERS.get(recipe.reader).accepts
        if options.step_minutes is not None:
            assert options.step_minutes == recipe.frequency_minutes

    @pytest.mark.parametrize("name", list_graphs())
    def test_graph_methods_are_those_that_are_built(self, name: str) -> None:
        assert graph_recipe(name).method in ("auto", *GRAPH_METHODS.names())

    @pytest.mark.parametrize("name", list_graphs())
    def test_graph_settings_are_accepted(self, name: str) -> None:
        recipe = graph_recipe(name)
        assert GraphSettings(**recipe.settings()).method == recipe.method

    @pytest.mark.parametrize(
        ("recipe", "file"),
        [
            (dataset_recipe("los-loop"), "los_speed.csv"),
            (graph_recipe("los-loop"), "los_adj.csv"),
            (dataset_recipe("era5-uk"), "era5-2mt-2019-03-uk.grib"),
            (dataset_recipe("etth1"), "ETTh1.csv"),
            (dataset_recipe("etth2"), "ETTh2.csv"),
            (dataset_recipe("etth1-long-horizon"), "ETTh1.csv"),
            (dataset_recipe("etth2-long-horizon"), "ETTh2.csv"),
        ],
    )
    def test_source_describes_the_real_file(
        self, recipe: DatasetRecipe | GraphRecipe, file: str, real_data: Callable[[str], Path]
    ) -> None:
        path = real_data(file)
        assert recipe.source is not None
        assert recipe.source.file_name == file
        assert recipe.source.size_bytes == path.stat().st_size
        assert recipe.source.sha256 == sha256_of_file(path)

    @pytest.mark.parametrize("name", ["los-loop", "era5-uk", "etth1"])
    def test_real_file_opens_as_the_recipe_says(
        self, name: str, real_data: Callable[[str], Path]
    ) -> None:
        recipe = dataset_recipe(name)
        assert recipe.source is not None
        options = ReaderOptions(**recipe.reader_options)
        raw = read(real_data(recipe.source.file_name), recipe.reader, options)
        series = canonical_series(raw, variables=recipe.variables, select=recipe.select)
        assert tuple(series.data_vars) == recipe.variables
        step = series.indexes["time"][1] - series.indexes["time"][0]
        assert step.total_seconds() == 60 * recipe.frequency_minutes

    def test_there_is_only_yaml(self) -> None:
        suffixes = {
            path.suffix
            for kind in ("datasets", "graphs")
            for path in (ROOT / kind).rglob("*")
            if path.is_file()
        }
        assert suffixes == {".yaml"}


class TestFaults:
    def test_all_faults_are_reported_together(self) -> None:
        wrong = dataset(
            licens="MIT", horizon=0, split=[0.5, 0.5], graph="No Graph", instructions=None, title=3
        )
        del wrong["licence"]
        with pytest.raises(CatalogueError) as caught:
            DatasetRecipe.from_mapping(wrong)
        message = str(caught.value)
        assert message.startswith("the data set recipe 'demo' has 7 faults:")
        for part in (
            "unknown key 'licens': did you mean 'licence'? Choose from: calendar, citation",
            "title is 3: it must be a text that is not empty",
            "licence is missing: it must be a text that is not empty",
            "horizon is 0: it must be a whole number of at least 1",
            "split is (0.5, 0.5): it must be three shares above 0",
            "graph is 'No Graph': it must be lower-case letters",
            "source and instructions are both missing: say how to get the file",
        ):
            assert part in message

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"kind": "fiel"}, "kind is 'fiel': it must be one of file, simulator"),
            ({"lookback": True}, "lookback is True: it must be a whole number"),
            ({"null_value": "none"}, "null_value is 'none': it must be a number"),
            ({"null_value": float("nan")}, "null_value is nan: it must be a number"),
            ({"frequency_minutes": -5}, "frequency_minutes is -5: it must be a number above 0"),
            ({"variables": "t2m"}, "variables is 't2m': it must be a list of texts"),
            ({"calendar": ["hour"]}, "a list of some of time_of_day, day_of_week, day_of_year"),
            ({"time_ratio": 10}, "time_ratio is 10: it must be a share above 0 and at most 1"),
            ({"split": [0.6, 0.2, 0.3]}, "three shares above 0 .* that add up to 1"),
            ({"split": [100, 20.5, 30]}, "or three whole numbers of steps"),
            ({"split": [1, 1, 1]}, "or three whole numbers of steps"),
            ({"scaling": "channel"}, "scaling is 'channel': it must be one of global, location"),
            ({"reach_back": "yes"}, "reach_back is 'yes': it must be true or false"),
            ({"select": ["level"]}, "select is .*: it must be a mapping of names to values"),
            ({"homepage": "example.org"}, "homepage is .*: it must be an http"),
            ({"simulator": "traffic-sim"}, "simulator has no meaning for kind file"),
            ({"source": "https://a.org/b"}, "source is .*a mapping with url, size_bytes and sha"),
            ({"source": {"url": "https://a.org/b"}}, "source: sha256 is missing"),
            ({"source": {"url": "https://a.org/"}}, "source: url is 'https://a.org/'"),
            ({"source": {"ulr": "https://a.org/b"}}, "source: unknown key 'ulr': did you mean"),
        ],
    )
    def test_data_set_fault(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(CatalogueError, match=message):
            DatasetRecipe.from_mapping(dataset(**changes))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"simulator": None}, "simulator is missing: name the simulator to run"),
            ({"null_value": 0}, "null_value has no meaning for kind simulator: leave it out"),
            ({"reader": "csv"}, "reader has no meaning for kind simulator: leave it out"),
        ],
    )
    def test_simulator_fault(self, changes: dict[str, Any], message: str) -> None:
        right = {"kind": "simulator", "simulator": "traffic-sim", "instructions": None}
        with pytest.raises(CatalogueError, match=message):
            DatasetRecipe.from_mapping(dataset(**{**right, **changes}))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"method": "Nearest One"}, "method is 'Nearest One': it must be"),
            ({"neighbours": 1.5}, "neighbours is 1.5: it must be a whole number"),
            ({"cutoff_km": 0}, "cutoff_km is 0: it must be a number above 0"),
            ({"method": "adjacency"}, "file is missing: method adjacency reads its edges"),
            (
                {"source": {"url": "https://a.org/b.csv", "size_bytes": 1, "sha256": "0" * 64}},
                "file is None: it must be 'b.csv', the name that the source's url ends in",
            ),
        ],
    )
    def test_graph_fault(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(CatalogueError, match=message):
            GraphRecipe.from_mapping(graph(**changes))

    def test_made_in_python_is_checked_too(self) -> None:
        with pytest.raises(CatalogueError, match=r"has 2 faults:\n.*size_bytes is 0.*\n.*sha256"):
            Source(url="https://a.org/b.nc", size_bytes=0, sha256="abc")

    def test_recipes_cannot_be_changed(self) -> None:
        recipe = GraphRecipe.from_mapping(graph())
        with pytest.raises(FrozenInstanceError):
            recipe.method = "grid"  # type: ignore[misc]

    def test_dates_and_lists_become_plain_values(self, tmp_path: Path) -> None:
        path = tmp_path / "demo.yaml"
        lines = [f"{key}: {value}" for key, value in dataset().items()]
        path.write_text("\n".join([*lines, "reader_options: {start: 2012-03-01, names: [a, b]}"]))
        recipe = read_recipe(path, DatasetRecipe)
        assert recipe.reader_options == {"start": "2012-03-01", "names": ("a", "b")}


class TestFiles:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("name: [unclosed", "cannot read the recipe .*demo.yaml'"),
            ("- a\n- list", "it must be lines of 'key: value', and it is list"),
            ("", "it must be lines of 'key: value', and it is NoneType"),
            ("name: other\ntitle: T\nmethod: knn", "rename the file to other.yaml, or set name"),
            ("name: demo\ntitle: T", r"demo.yaml: the graph recipe 'demo' has 1 fault:\n.*method"),
        ],
    )
    def test_bad_file(self, tmp_path: Path, content: str, message: str) -> None:
        path = tmp_path / "demo.yaml"
        path.write_text(content)
        with pytest.raises(CatalogueError, match=message):
            read_recipe(path, GraphRecipe)

    def test_unknown_names_list_the_choices(self) -> None:
        with pytest.raises(InputError, match=r"unknown data set 'metrla': did you mean 'metr-la'"):
            dataset_recipe("metrla")
        with pytest.raises(InputError, match=r"unknown graph 'gird-8': did you mean 'grid-8'"):
            graph_recipe("gird-8")


class TestUserCatalogue:
    def add(self, folder: Path, name: str) -> None:
        """Write a graph recipe into the sub-folder of a user's catalogue."""
        path = folder / "graphs" / "nested" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"name: {name}\ntitle: Mine\nmethod: knn\nneighbours: 3\n")

    def test_folders_add_recipes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.add(tmp_path / "a", "mine")
        self.add(tmp_path / "b", "yours")
        folders = os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")])
        monkeypatch.setenv(CATALOGUE_VARIABLE, folders)
        assert {"mine", "yours", "auto"} <= set(list_graphs())
        assert graph_recipe("mine").settings() == {"method": "knn", "neighbours": 3}

    def test_a_name_is_given_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.add(tmp_path, "auto")
        monkeypatch.setenv(CATALOGUE_VARIABLE, str(tmp_path))
        with pytest.raises(CatalogueError, match=r"two recipes are named 'auto': .*; rename one"):
            list_graphs()

    def test_a_folder_without_recipes_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(CATALOGUE_VARIABLE, str(tmp_path / "nowhere"))
        with pytest.raises(InputError, match=r"lists '.*nowhere', which is no catalogue: it must"):
            list_datasets()
