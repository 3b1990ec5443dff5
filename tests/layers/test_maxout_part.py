import torch

from torchfolio.layers.maxout import Maxout, bound_norms


def test_each_unit_is_the_largest_of_its_consecutive_pieces() -> None:
    part = Maxout(in_features=1, out_features=2, pieces=2)
    with torch.no_grad():
        part.linear.weight.copy_(torch.tensor([[1.0], [-1.0], [2.0], [0.0]]))
        part.linear.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 5.0]))
    # unit 0: max(x, -x); unit 1: max(2x, 5)
    outputs = part(torch.tensor([[3.0], [-4.0]]))
    assert outputs.tolist() == [[3.0, 5.0 + 1.0], [4.0, 5.0]]


def test_maxout_with_one_piece_is_linear() -> None:
    part = Maxout(in_features=3, out_features=4, pieces=1)
    x = torch.randn(2, 5, 3)
    assert torch.equal(part(x), part.linear(x))


def test_bounding_scales_only_the_rows_whose_norm_is_too_large() -> None:
    weight = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    bound_norms(weight, 1.0)
    torch.testing.assert_close(weight, torch.tensor([[0.6, 0.8], [0.3, 0.4]]))


def test_bounding_takes_a_kernel_as_one_row() -> None:
    weight = torch.full((2, 1, 2, 2), 2.0)  # each kernel has a norm of 4
    bound_norms(weight, 2.0)
    torch.testing.assert_close(weight, torch.ones(2, 1, 2, 2))
