"""Steps on an Apache Beam engine: a graph of one size for any number of clips, and no engine that fetches a program."""

import contextlib
import socket

import pytest

from actavatar_jax.errors import InputError
from data_pipelines.table import Step, StepReport, run_step
from data_pipelines.table.beam import add_work, choose_engine, measure_piece, open_pipeline, split_work, write_work
from data_pipelines.table.journals import Journal, read_rows
from data_pipelines.table.measuring import Measuring
from data_pipelines.table.steps import make_work
from data_pipelines.table.workers import WorkerPool
from tests.data.table import odd_clips
from tests.data.table.trivial_step import ARITHMETIC, Counting, constant_state, synthetic

QUIET = {"progress": False}


@pytest.mark.parametrize("name", [None, "DirectRunner", "direct", "SwitchingDirectRunner", "apache_beam.x.PrismRunner"])
def test_no_local_engine_fetches_a_program(name, tmp_path):
    """Beam's own default does, from the internet, where it finds none."""
    if name and "Prism" in name:
        with pytest.raises(InputError, match="would download a program; accepted is --beam-option=--prism_location"):
            choose_engine(name, {})
        with pytest.raises(InputError, match="would download a program"):
            choose_engine(name, {"prism_location": "https://example.org/prism.zip"})
    else:
        assert choose_engine(name, {}).endswith("FnApiRunner")
    (tmp_path / "prism").touch()
    assert choose_engine(name, {"prism_location": str(tmp_path / "prism")}) == "PrismRunner"


@pytest.mark.parametrize(
    "name, option", [("FlinkRunner", "flink_job_server_jar"), ("SparkRunner", "spark_job_server_jar")]
)
def test_nor_do_engines_with_a_server(name, option, tmp_path):
    with pytest.raises(
        InputError, match=f"{name}' would download a program; accepted is --beam-option=--{option}=FILE"
    ):
        choose_engine(name, {option: None})
    (tmp_path / "server.jar").touch()
    assert choose_engine(name, {option: str(tmp_path / "server.jar")}) == name


def test_another_engine_is_the_users_own():
    assert choose_engine("DataflowRunner", {}) == "DataflowRunner"
    assert choose_engine("PortableRunner", {"job_endpoint": "host:8099"}) == "PortableRunner"
    with pytest.raises(InputError, match="would fetch a program; accepted is --beam-option=--job_endpoint"):
        choose_engine("PortableRunner", {})


def measuring(folder, step=ARITHMETIC):
    return Measuring(step, folder, Journal(folder, 0))


def test_the_graph_is_as_large_for_any_number_of_clips(tmp_path):
    """An engine takes 20 MB at most."""
    pytest.importorskip("apache_beam", reason="needs Apache Beam, of the extra `data`")
    sizes = []
    for count in (100, 10_000):
        path = tmp_path / "work.parquet"
        write_work(make_work(synthetic(count), {}), path)
        pipeline = open_pipeline([])
        add_work(pipeline, measuring(tmp_path), path, 600.0)
        sizes.append(len(pipeline.to_runner_api().SerializeToString()))
    assert abs(sizes[0] - sizes[1]) < 200 and max(sizes) < 100_000  # names in pickles differ in length


def test_pieces_are_all_clips_once(tmp_path):
    write_work(make_work(synthetic(1300), {}), tmp_path / "work.parquet")
    pieces = list(split_work(str(tmp_path / "work.parquet")))
    assert len(pieces) == 2 * 32 + 18 and {group for _, group, _ in pieces} == {0, 1, 2}
    with contextlib.closing(WorkerPool(1, 600.0)) as pool:
        assert sum(measure_piece(piece, measuring(tmp_path), pool) for piece in pieces) == 1300
    assert sorted(entry.id for entry in read_rows([tmp_path])) == synthetic(1300).column("id")


def test_a_clip_that_hangs_or_ends_its_process_is_a_row_as_without_beam(tmp_path):
    pytest.importorskip("apache_beam", reason="needs Apache Beam, of the extra `data`")
    table = odd_clips.odd_table(1000).of_clips(["c000003", "c000500", "c000501", "c000700"])
    report = StepReport("")
    run_step(odd_clips.ODD, table, tmp_path, runner="beam", timeout=1.0, report=report, **QUIET)
    skipped = {f"skipped: {why}": 1 for why in ("crashed", "timed out", "unexpected error")}
    assert report.counts() == {"made": 1} | skipped


def test_too_many_failures_are_one_sentence(tmp_path):
    pytest.importorskip("apache_beam", reason="needs Apache Beam, of the extra `data`")
    step = Step("counting", Counting(tmp_path / "log", fail="c"), state=constant_state)
    with pytest.raises(InputError, match="counting was stopped: 11 of 11 clips failed"):
        run_step(step, synthetic(20), tmp_path, runner="beam", **QUIET)


def test_beam_runs_without_a_network(tmp_path, monkeypatch):
    pytest.importorskip("apache_beam", reason="needs Apache Beam, of the extra `data`")

    def no_network(self, address):
        assert address[0] in ("127.0.0.1", "::1", "localhost") or not isinstance(address, tuple), address
        return connect(self, address)

    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr("urllib.request.urlopen", None)
    table = run_step(ARITHMETIC, synthetic(20), tmp_path, runner="beam", **QUIET)
    assert len(table) == 20


def test_an_engine_that_is_none_is_refused(tmp_path):
    pytest.importorskip("apache_beam", reason="needs Apache Beam, of the extra `data`")
    for name in ("NoRunner", "no.such.Runner"):
        with pytest.raises(InputError, match=f"engine '{name}' cannot be used"):
            run_step(ARITHMETIC, synthetic(1), tmp_path, runner="beam", beam_options=[f"--runner={name}"], **QUIET)
