"""An ensemble beside its members, by hand, and its section of the report."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from torchfolio.evaluation import classification, paired
from torchfolio.evaluation.ensemble_report import coefficients_table, members_section
from torchfolio.evaluation.ensembles import EnsembleResult, evaluate
from torchfolio.evaluation.report import Figure, Report, Table, Text, render

LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1])
ANSWERS = np.array(
    [
        [0, 1, 2, 0, 1, 0, 1, 2],  # five right
        [0, 1, 0, 1, 1, 2, 1, 0],  # four right
        [0, 1, 2, 0, 0, 2, 1, 0],  # five right
    ]
)
TOGETHER = np.array([0, 1, 2, 0, 1, 2, 1, 0])  # six right


def surely(answers: np.ndarray) -> np.ndarray:
    """Give probabilities of 0.8 for the answer and 0.1 for the others."""
    return (np.eye(3)[answers] * 0.7 + 0.1).astype(np.float32)


@pytest.fixture(scope="module")
def result() -> EnsembleResult:
    return evaluate(surely(ANSWERS), surely(TOGETHER), LABELS)


def test_accuracies_and_losses_are_scikit_learns(result: EnsembleResult) -> None:
    for standing, answers in zip(
        [*result.members, result.ensemble], [*ANSWERS, TOGETHER], strict=True
    ):
        assert standing.accuracy.value == pytest.approx(accuracy_score(LABELS, answers))
        assert standing.log_loss.value == pytest.approx(log_loss(LABELS, surely(answers)), rel=1e-6)


def test_intervals_are_those_that_each_alone_would_have(result: EnsembleResult) -> None:
    alone = classification.evaluate(surely(ANSWERS[1]), LABELS)
    assert result.members[1].accuracy == alone.metrics["accuracy"]
    low, high = result.members[1].log_loss.low, result.members[1].log_loss.high
    expected = alone.metrics["log_loss"]
    assert (low, high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_the_counts_by_hand(result: EnsembleResult) -> None:
    assert result.examples == 8
    assert result.unanimous == 3  # the first, the second, and the seventh
    assert result.all_right == 2
    assert result.oracle.value == pytest.approx(6 / 8)
    [(one, other, counts), *_] = result.overlaps
    assert (one, other) == (0, 1)
    assert (counts.both, counts.only_first, counts.only_second, counts.neither) == (3, 2, 1, 2)
    assert counts.disagree == 4
    assert [places[:2] for places in result.overlaps] == [(0, 1), (0, 2), (1, 2)]


def test_the_gains_are_paired_comparisons_adjusted_for_their_number(
    result: EnsembleResult,
) -> None:
    for pair, answers in zip(result.pairs, ANSWERS, strict=True):
        assert pair == paired.compare(TOGETHER, answers, LABELS)
    assert result.p == paired.holm([pair.p for pair in result.pairs])
    words = result.verdicts(["a", "b", "c"])
    assert words[0].startswith("no evidence of a difference: +12.50 points")


def test_a_clear_gain_names_the_ensemble() -> None:
    labels = np.zeros(200, int)
    bad = np.where(np.arange(200) < 60, 1, 0)
    found = evaluate(surely(np.stack([bad, bad])), surely(labels), labels)
    assert all(
        words.startswith("the ensemble is better: +30.00") for words in found.verdicts(["a"] * 2)
    )


def test_examples_of_a_group_are_one_unit() -> None:
    groups = np.repeat([0, 1], 4)
    together = evaluate(surely(ANSWERS), surely(TOGETHER), LABELS, groups=groups)
    alone = classification.evaluate(surely(TOGETHER), LABELS, groups=groups)
    assert together.ensemble.accuracy == alone.metrics["accuracy"]
    assert together.pairs[0] == paired.compare(TOGETHER, ANSWERS[0], LABELS, groups=groups)


def test_plain_values_hold_everything(result: EnsembleResult) -> None:
    found = result.as_json(["a", "b", "c"])
    assert [each["name"] for each in found["members"]] == ["a", "b", "c"]
    assert found["pairs"][2]["first"] == "ensemble"
    assert found["pairs"][2]["second"] == "c"
    assert set(found["pairs"][0]["difference"]) == {"value", "low", "high"}
    assert found["disagreement"][0] == {
        "first": "a", "second": "b", "only_first": 2, "only_second": 1, "both": 3, "neither": 2,
        "disagree": 4,
    }  # fmt: skip
    assert (found["unanimous"], found["all_right"]) == (3, 2)


def test_the_section_shows_each_the_gains_and_the_disagreement(result: EnsembleResult) -> None:
    names = ["a <b>", "b", "c"]
    section = members_section(result, names, ["vgg11, 32 x 32"] * 3, "weighted", [0.2, 0.3, 0.5])
    tables = {block.title: block for block in section.blocks if isinstance(block, Table)}
    each = tables["Each member, and the ensemble"]
    assert [row[-1] for row in each.rows] == ["0.200", "0.300", "0.500", ""]
    assert str(each.rows[3][0]) == "ensemble\nweighted mean of the probabilities"
    assert str(each.rows[0][1]).startswith("62.5")
    gains = tables["What the ensemble gains"]
    low, high = (
        100 * end for end in (result.pairs[0].difference.low, result.pairs[0].difference.high)
    )
    assert gains.rows[0][:4] == ["a <b>", f"+12.50\n{low:+.2f} to {high:+.2f}", 1, 0]
    assert str(tables["Where members disagree"].rows[0][1]).startswith("4\n50.00")
    last = tables["All members together"].rows[-1]
    assert str(last[1]).startswith("75.0")
    drawn = [block for block in section.blocks if isinstance(block, Figure)]
    assert [each.title for each in drawn] == ["Accuracy of each"]
    [words] = [block for block in section.blocks if isinstance(block, Text)]
    assert words.paragraphs[0].startswith("The ensemble and a <b>: no evidence of a difference")
    assert "no choice among their answers can do better" in words.paragraphs[-1]
    page = render(Report("t", "", [section]))
    assert "a &lt;b&gt;" in page
    assert "a <b>" not in page


def gains_of(found: EnsembleResult) -> Table:
    section = members_section(found, ["a", "b", "c"], ["mlp"] * 3, "mean")
    tables = [block for block in section.blocks if isinstance(block, Table)]
    [gains] = [each for each in tables if each.title == "What the ensemble gains"]
    return gains


def test_the_note_names_the_test_that_was_made(result: EnsembleResult) -> None:
    assert "; p by McNemar's exact test, adjusted" in gains_of(result).note
    groups = np.repeat([0, 1, 2, 3], 2)
    grouped = evaluate(surely(ANSWERS), surely(TOGETHER), LABELS, groups=groups)
    assert "; p by flipping the signs of groups' gains, adjusted" in gains_of(grouped).note


def test_of_a_single_unit_no_interval_is_shown() -> None:
    groups = np.zeros(8, int)
    one_group = evaluate(surely(ANSWERS), surely(TOGETHER), LABELS, groups=groups)
    assert [row[1] for row in gains_of(one_group).rows] == ["+12.50", "+25.00", "+12.50"]
    one = evaluate(surely(ANSWERS[:, 2:3]), surely(TOGETHER[2:3]), LABELS[2:3])
    assert [row[1] for row in gains_of(one).rows] == ["+0.00", "+100.00", "+0.00"]


def test_a_vote_says_what_its_probability_is(result: EnsembleResult) -> None:
    section = members_section(result, ["a", "b", "c"], ["mlp"] * 3, "vote")
    table = section.blocks[0]
    assert isinstance(table, Table)
    assert list(table.columns) == ["", "accuracy", "log-loss"]
    assert "(votes + mean probability) / (members + 1)" in table.note


def test_the_coefficients_shown_are_those_of_the_class_itself() -> None:
    weight = np.arange(8.0).reshape(2, 4)  # two classes, two members: diagonals 0, 5 and 2, 7
    table = coefficients_table(weight, np.array([0.5, -0.5]), ["a", "b"], ["cat", "dog"], 1.0)
    assert table.rows == [
        ["mean over the classes", "2.500", "4.500", "0.000"],
        ["cat", "0.000", "2.000", "0.500"],
        ["dog", "5.000", "7.000", "-0.500"],
    ]
    assert "Fitted on the validation split" in table.note
    many = coefficients_table(
        np.zeros((40, 80)), np.zeros(40), ["a", "b"], [str(n) for n in range(40)], 1.0
    )
    assert len(many.rows) == 31
    assert many.note.startswith("The first 30 of 40 classes.")
