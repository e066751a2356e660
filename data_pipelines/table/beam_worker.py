"""What a worker of a Beam engine does; apart from `beam`, because it alone needs Beam when it is imported."""

import apache_beam as beam

from data_pipelines.table.beam import Piece, measure_piece
from data_pipelines.table.measuring import Measuring
from data_pipelines.table.workers import WorkerPool


class MeasurePiece(beam.DoFn):
    """Measures pieces in a process beside the worker, which lives as long as this."""

    def __init__(self, measuring: Measuring, timeout: float):
        self.measuring, self.timeout = measuring, timeout

    def setup(self) -> None:
        self.pool = WorkerPool(1, self.timeout)

    def process(self, piece: Piece) -> None:
        measure_piece(piece, self.measuring, self.pool)

    def teardown(self) -> None:
        self.pool.close()
