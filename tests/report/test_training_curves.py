from visionkit.report.training_curves import training_curves

CSV = """epoch,lr-SGD,step,train/loss,val/AP
0,0.1,0,,
0,,4,2.5,
0,,4,,0.25
1,0.05,5,,
1,,9,1.5,0.5
1,,9
"""


def test_losses_metric_and_learning_rate(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(CSV)
    plots = training_curves(path, "val/AP")
    assert [plot.title for plot in plots] == ["Losses", "Main metric", "Learning rate"]
    assert [(line.name, line.value) for plot in plots for line in plot.lines] == [
        ("train/loss", "1.5"),
        ("val/AP", "0.5"),
        ("lr-SGD", "0.05"),
    ]


def test_no_or_an_empty_file(tmp_path):
    assert training_curves(tmp_path / "metrics.csv", "val/AP") == []
    (tmp_path / "metrics.csv").write_text("epoch,step\n")
    assert training_curves(tmp_path / "metrics.csv", "val/AP") == []
