"""``stemdist teach``: from a file to a student, from tiny data to a tiny model, and mistakes."""

from __future__ import annotations

import json
import shutil

import pytest
from cli_cases import weather

from stemdist.forecast import FittedForecaster

SHORT = "--lookback 4 --horizon 3"
QUICK = "--updates 4 --teacher-training.updates 4 --quiet"


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weather().to_netcdf("w.nc")


def test_a_method_on_a_file(run, file):
    outcome = run(f"teach --data w.nc --method gru-linear {SHORT} {QUICK}")
    assert outcome.status == 0, outcome.err
    assert "taught lowrank-linear on w.nc" in outcome.out
    assert "learned from  gru" in outcome.out
    assert "terms         observed, forecast-values, features-values" in outcome.out
    assert "of the teacher gru" in outcome.out
    student = FittedForecaster.load("w-lowrank-linear-student")
    assert student.record["student_settings"]["teachers"] == ["gru"]
    assert run("predict w-lowrank-linear-student w.nc -o f.nc --quiet").status == 0
    outcome = run("evaluate w-lowrank-linear-student --data w.nc")
    assert "w-lowrank-linear-student" in outcome.out
    assert "closed-form linear" in outcome.out


def test_how_much_of_a_teacher_is_taken_is_said(run, file):
    line = f"teach --data w.nc --teacher gru --student linear {SHORT} {QUICK} -o s"
    outcome = run(f"{line} --teacher-weight 0,1")
    assert outcome.status == 0, outcome.err
    record = FittedForecaster.load("s").record
    tried = [each["teacher_weight"] for each in record["teacher_weight_errors"]]
    assert tried == [0, 1]
    assert f"teacher weight  {record['teacher_weight']:g}, by validation RMSE: " in outcome.out
    refused = "this teacher cannot teach this student here" in outcome.out
    assert refused == (record["teacher_weight"] == 0)
    outcome = run(f"{line} --teacher-weight 0,-1")
    assert outcome.status == 2
    assert "teacher_weight is -1.0: it must be a number above 0" in outcome.err


def test_a_second_student_asks_no_teacher(run, file, monkeypatch):
    line = f"teach --data w.nc --teacher gru --student {{}} {SHORT} {QUICK}"
    assert run(line.format("mlp") + " -o one").status == 0

    def fail(*args, **kwargs):
        raise AssertionError("asked again")

    monkeypatch.setattr("stemdist.students.teachers.forecaster.ForecasterTeacher.answer", fail)
    outcome = run(line.format("linear") + " -o two")
    assert outcome.status == 0, outcome.err


def test_a_folder_teaches_by_its_method_named_as_the_student(run, file):
    assert run(f"train w.nc --forecaster mlp -o teacher --updates 4 --quiet {SHORT}").status == 0
    line = f"teach --data w.nc --teacher teacher --student easyst {SHORT} {QUICK} -o student"
    outcome = run(f"{line} --weights bottleneck-values=0.01 --answers answers.nc")
    assert outcome.status == 0, outcome.err
    record = FittedForecaster.load("student").record
    assert FittedForecaster.load("student").name == "bottleneck-mlp"
    weights = {f"{t['of']}-{t['view']}": t["weight"] for t in record["student_settings"]["terms"]}
    assert weights == {"forecast-values": 1.0, "bottleneck-values": 0.01}
    run(f"train w.nc --forecaster mlp -o teacher --updates 5 --quiet {SHORT}")
    outcome = run(f"{line} --answers answers.nc")
    assert outcome.status == 2
    assert "are of another teacher" in outcome.err
    outcome = run("evaluate student --data w.nc --beside teacher --metric mae")
    assert outcome.status == 0
    shown = outcome.out.split("written")[0]
    assert all(name in shown for name in ("student", "teacher", "persistence"))


def test_tiny_data_tiny_model(run, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made / "model", "teacher")
    line = f"teach --data {made}/w.distilled.nc --teacher teacher --student linear {QUICK}"
    outcome = run(f"{line} -o tiny")
    assert outcome.status == 0, outcome.err
    assert FittedForecaster.load("tiny").record["trained_on"] == "distilled"
    assert FittedForecaster.load("tiny").record["validation_error"] is None
    outcome = run(f"{line} --validation {made}/w.nc -o tiny")
    assert outcome.status == 0, outcome.err
    assert FittedForecaster.load("tiny").record["validation_error"] > 0
    assert json.loads((tmp_path / "tiny" / "config.json").read_text())["forecaster"] == "linear"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "stemdist teach needs the data to learn from: add --data FILE"),
        ("--data w.nc --method timdistill", "did you mean 'timedistill'"),
        ("--data w.nc --method hints", "features-values ask a teacher, and none is given"),
        ("--data w.nc --teacher nobody", "the teacher 'nobody' is neither a folder"),
        ("--data w.nc --teacher file:none.nc", "does not exist"),
        ("--data w.nc --teacher gru --student linear --method hints", "no features of its own"),
        ("--data w.nc --teacher gru --weights hints=1", "term of method 'soft-labels' 'hints'"),
        ("--data w.nc --teacher gru,lstm --answers a.nc", "file of one teacher, and 2 are given"),
        ("--data w.nc --teacher gru --validation w.nc", "--validation is for learning from a"),
        ("--data w.nc --recipe era", "unknown data set 'era'"),
        ("--data w.nc --teacher gru --loss quantile", "training has loss='quantile'"),
        ("--data w.nc --teacher gru --combine sum", "way to combine teachers 'sum'"),
        ("--data w.nc --lesson hints", "unknown option '--lesson'"),
    ],
)
def test_mistakes(line, message, run, file):
    outcome = run(f"teach {line} {SHORT} {QUICK}")
    assert outcome.status == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.err.count("\n") == 1


def test_distilled_data_need_a_trained_teacher(run, made):
    outcome = run(f"teach --data {made}/w.distilled.nc --teacher gru {QUICK}")
    assert outcome.status == 2
    assert "has to be trained on real data" in outcome.err
    outcome = run(f"teach --data {made}/w.distilled.nc --teacher gru {SHORT} {QUICK}")
    assert "a distilled set fixes what is forecast from what" in outcome.err
    assert run(f"evaluate {made}/w.distilled.nc --data {made}/w.nc --beside x").status == 2
