import pytest
import torch
import torch.nn.functional as F

from spin_fairseq.modules.prototypes import PrototypeHead


@pytest.fixture
def head():
    torch.manual_seed(0)
    return PrototypeHead(16, [12], [8])


def prototypes_in_use(head, codebook=0):
    """The rows that the scores are made with: scores of the unit vectors are their coordinates."""
    width = head.prototypes[codebook].size(1)
    return head.scores(torch.eye(width), codebook).t()


def assert_unit_rows(rows):
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(rows)), rtol=1e-6, atol=1e-6)


def test_scores_are_cosines(head):
    features = torch.randn(2, 5, 16)
    (scores,) = head(features)
    expected = F.cosine_similarity(head.projection(features)[:, :, None], head.prototypes[0][None, None], dim=-1)
    torch.testing.assert_close(scores, expected)
    torch.testing.assert_close(head.embed(features).norm(dim=-1), torch.ones(2, 5))


def test_stored_prototypes_and_embeddings_as_they_are():
    torch.manual_seed(0)
    head = PrototypeHead(16, [12], [8], l2_norm=False, normalize_prototypes=False)
    with torch.no_grad():
        head.prototypes[0] *= 1.1
    features = torch.randn(2, 5, 16)
    torch.testing.assert_close(head.embed(features), head.projection(features))
    torch.testing.assert_close(head(features)[0], head.projection(features) @ head.prototypes[0].t())
    assert torch.equal(prototypes_in_use(head), head.prototypes[0])


@pytest.mark.parametrize("dims, layers", [([12], 1), ([20, 12], 3), ([20, 14, 12], 5)])
def test_projection_has_a_relu_between_layers_and_none_after(dims, layers):
    head = PrototypeHead(16, dims, [8])
    assert len(head.projection) == layers
    for i, layer in enumerate(head.projection):
        assert isinstance(layer, torch.nn.ReLU if i % 2 else torch.nn.Linear)
    assert head.embed(torch.randn(3, 16)).shape == (3, 12)
    assert (head.embed(torch.randn(100, 16)) < 0).any()


def test_several_codebooks(head):
    head = PrototypeHead(16, [12], [8, 30])
    scores = head(torch.randn(3, 5, 16))
    assert [s.shape for s in scores] == [(3, 5, 8), (3, 5, 30)]
    for codebook in (0, 1):
        assert_unit_rows(prototypes_in_use(head, codebook))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rows_have_unit_length_with_half_precision_weights(head, dtype):
    head.to(dtype)
    assert_unit_rows(prototypes_in_use(head))
    (scores,) = head(torch.randn(7, 16).to(dtype))
    assert scores.dtype == torch.float32 and scores.abs().max() <= 1 + 1e-6
    torch.testing.assert_close(head.embed(torch.randn(7, 16).to(dtype)).norm(dim=-1), torch.ones(7))


def test_rows_have_unit_length_under_autocast(head):
    features = torch.randn(7, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_unit_rows(prototypes_in_use(head))
        embeddings = head.embed(features)
        (scores,) = head(features)
    assert scores.dtype == embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(7))
    torch.testing.assert_close(scores, head.scores(embeddings))  # single precision, although autocast was on


def test_rows_have_unit_length_whatever_the_optimiser_leaves(head):
    optimizer = torch.optim.SGD(head.parameters(), lr=50.0)
    head(torch.randn(40, 16))[0].square().sum().backward()
    optimizer.step()
    assert (head.prototypes[0].norm(dim=1) - 1).abs().max() > 0.1
    assert_unit_rows(prototypes_in_use(head))


@pytest.mark.parametrize("memory_efficient", [False, True])
def test_rows_have_unit_length_with_fairseqs_fp16_optimizers(head, memory_efficient, monkeypatch):
    """Their float32 copies are written back over the half-precision weights after each step."""
    pytest.importorskip("fairseq", reason="needs fairseq's optimisers")
    from fairseq.dataclass.configs import FairseqConfig
    from fairseq.optim.adam import FairseqAdamConfig
    from fairseq.optim.fp16_optimizer import FP16Optimizer, MemoryEfficientFP16Optimizer
    from omegaconf import OmegaConf

    monkeypatch.setattr(torch.cuda, "current_device", lambda: None)  # the index of the CPU
    head.half()
    cfg = OmegaConf.structured(FairseqConfig())
    cfg.optimizer = OmegaConf.structured(FairseqAdamConfig(lr=[1.0], adam_betas="(0.9,0.999)"))
    cfg.optimizer._name = "adam"
    cfg.optimizer.lr = [1.0]
    build = (MemoryEfficientFP16Optimizer if memory_efficient else FP16Optimizer).build_optimizer
    optimizer = build(cfg, list(head.parameters()))
    before = head.prototypes[0].detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        optimizer.backward(head(torch.randn(40, 16).half())[0].square().sum())
        optimizer.multiply_grads(1.0)
        optimizer.clip_grad_norm(10.0)
        optimizer.step()
    assert head.prototypes[0].dtype == torch.float16
    assert (head.prototypes[0] - before).abs().max() > 0.5
    assert_unit_rows(prototypes_in_use(head))


def test_gradients_reach_projection_and_prototypes(head):
    head(torch.randn(10, 16))[0].square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())
