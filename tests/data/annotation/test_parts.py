"""Annotation by several processes: each asks about its part, and the last one puts the rows and rates together."""

import json

from data_pipelines.annotation import ChatClient, Server, annotate_clips
from tests.data.annotation.clip_folders import make_folder, rows
from tests.data.chat_server import ChatServer, says_json


def test_parts_end_with_the_rows_of_one_process(tmp_path):
    clips = {name: {"stage2": name != "c"} for name in "abcd"}
    folder, reports = make_folder(tmp_path, clips), []
    with ChatServer(lambda *_: says_json()) as server, ChatClient(Server(server.url, "omni")) as client:
        for index in range(2):
            assert not (folder / "columns").exists()
            reports.append(annotate_clips(folder, client, process=(index, 2), progress=False))
        asked = len(server.requests)
        again = annotate_clips(folder, client, progress=False)
        assert asked == len(server.requests) == 3
    assert [report.counts()["made"] for report in reports] == [2, 3]
    assert again.counts() == {"kept": 3, "not selected": 1}
    accepted = {name: row["annotate.accepted"] for name, row in rows(folder).items()}
    assert accepted == {"a": True, "b": True, "c": None, "d": True}
    assert json.loads((folder / "annotate.rates.json").read_text())["accepted at once"] == 3
