"""The files of a run's report."""

from torchfolio.training.report import file_names


def test_drawings_of_like_titles_have_files_of_their_own() -> None:
    titles = ["Accuracy of each", "ROC of a b", "ROC of a-b", "ROC of 猫", "roc of A B", "!"]
    assert file_names(titles) == [
        "accuracy-of-each", "roc-of-a-b", "roc-of-a-b-2", "roc-of-猫", "roc-of-a-b-3", "figure",
    ]  # fmt: skip
    assert file_names(["x" * 200, "x" * 100]) == ["x" * 80, "x" * 80 + "-2"]
