"""Tables of a task's results for the terminal."""

from collections.abc import Iterator

from rich.table import Table

from visionkit.report.tables import class_table, overall_table
from visionkit.tasks import MultiTask, Task


def result_tables(task: Task, title: str) -> Iterator[Table]:
    """Yield the table of the metrics over all classes, and that of the classes; one per head if there are several."""
    yield overall_table(task.results, title)
    if isinstance(task, MultiTask):
        for name, head in task.heads.items():
            if (results := task.results.part(f"{name}/")).per_class:  # a head without images has none
                yield class_table(results, head.class_names, name)
    else:
        yield class_table(task.results, task.class_names)
