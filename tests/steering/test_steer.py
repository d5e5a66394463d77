"""A guard around a VLM, and around a model that is called elsewhere."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import GenerationConfig

from sightguard.errors import DataError, EditError, EditNeverRan, FingerprintMismatch, UnknownName, UsageError
from sightguard.models.anatomy import find_anatomy
from sightguard.models.states import prompt_states, text_states
from sightguard.models.vlm import VLM
from sightguard.steering.activations import capture
from sightguard.steering.memory import Memory
from sightguard.steering.steer import Steered, on, steer
from sightguard.steering.vlm_guard import VlmGuard
from sightguard.types import Sample
from tests import tiny


@pytest.fixture(scope="module")
def vlm() -> VLM:
    return tiny.vlm()


@pytest.fixture(scope="module")
def guard(vlm: VLM) -> VlmGuard:
    return tiny.guard(vlm)


@pytest.fixture(scope="module")
def inputs(vlm: VLM) -> dict[str, Tensor]:
    return vlm.encode(tiny.samples()).inputs


def generated(model: Any, inputs: dict[str, Tensor], **options: Any) -> list[list[int]]:
    with torch.no_grad():
        tokens: Tensor = model.generate(**inputs, **{"max_new_tokens": 6, "do_sample": False, **options})
    return [row[inputs["input_ids"].shape[1] :].tolist() for row in tokens]


def last_states(model: Any, vlm: VLM, inputs: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        states: Tensor = model(**inputs, output_hidden_states=True).hidden_states[-1][:, -1]
    return states


def test_a_steered_model_answers_in_order_and_says_so(vlm: VLM, guard: VlmGuard) -> None:
    samples = tiny.samples()
    plain, steered = vlm(samples), steer(vlm, guard)(samples)
    assert [response.text for response in steered] != [response.text for response in plain]
    for sample, response in zip(samples, steered, strict=True):
        assert response.text == steer(vlm, guard)([sample])[0].text
    assert {response.methods for response in steered} == {("vlm_guard",)}
    assert [response.text for response in vlm(samples)] == [response.text for response in plain]


def test_on_a_bare_model_the_tokens_are_those_of_steer(vlm: VLM, guard: VlmGuard, inputs: dict[str, Tensor]) -> None:
    batch = vlm.encode(tiny.samples())
    with steer(vlm, guard).around(batch):
        expected = generated(vlm.model, inputs)
    with guard.on(vlm.model) as trace:
        found = generated(vlm.model, inputs)
    assert found == expected
    assert len({tuple(row) for row in found}) >= 5
    assert found != generated(vlm.model, inputs)
    assert (trace.prompts, trace.fired) == (1, dict.fromkeys(guard.layers, 1))


def test_a_bare_forward_pass_is_guarded(vlm: VLM, guard: VlmGuard, inputs: dict[str, Tensor]) -> None:
    expected = steer(vlm, guard).states(tiny.samples(), [vlm.anatomy.depth - 1])[0]
    with guard.on(vlm):
        found = last_states(vlm.model, vlm, inputs)
    with torch.no_grad():
        torch.testing.assert_close(found, vlm.anatomy.norm(expected), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(found, last_states(vlm.model, vlm, inputs), atol=1e-2)


def test_the_base_model_called_alone_is_guarded_and_the_decoder_refused(
    vlm: VLM, guard: VlmGuard, inputs: dict[str, Tensor]
) -> None:
    plain = vlm.model.base_model(**inputs).last_hidden_state
    with guard.on(vlm):
        assert not torch.equal(vlm.model.base_model(**inputs).last_hidden_state, plain)
        with pytest.raises(EditError, match="language model inside the guarded model was called by itself"):
            vlm.anatomy.decoder(input_ids=inputs["input_ids"])


def test_captured_hidden_states_are_the_edited_ones(vlm: VLM, guard: VlmGuard, inputs: dict[str, Tensor]) -> None:
    guard = replace(guard, layers=(1, 2))  # the last entry of hidden_states comes after the final norm
    vectors = guard.directions.at(guard.layers, guard.m)
    wanted = capture(vlm, tiny.samples(), layers=guard.layers, images=False)
    with guard.on(vlm), torch.no_grad():
        seen = vlm.model(**inputs, output_hidden_states=True).hidden_states
    for place, layer in enumerate(guard.layers):
        coordinates = seen[layer + 1][:, -1] @ vectors[place].T
        torch.testing.assert_close(coordinates, wanted[place] @ vectors[place].T, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_a_peft_model_is_guarded(inputs: dict[str, Tensor]) -> None:
    model = get_peft_model(tiny.llava(), LoraConfig(target_modules="all-linear", r=2))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    wrapped = VLM(model, tiny.processor())
    guard = tiny.guard(wrapped)
    plain, first = generated(model, inputs), last_states(model, wrapped, inputs)
    with guard.on(model):
        assert generated(model, inputs) != plain
        assert not torch.allclose(last_states(model, wrapped, inputs), first)
    assert generated(model, inputs) == plain


def test_code_that_holds_generate_in_a_variable_of_its_own_is_guarded(
    vlm: VLM, guard: VlmGuard, inputs: dict[str, Tensor]
) -> None:
    held = vlm.model.generate
    with guard.on(vlm):
        through = generated(vlm.model, inputs)
        tokens = held(**inputs, max_new_tokens=6, do_sample=False)
    assert [row[inputs["input_ids"].shape[1] :].tolist() for row in tokens] == through


@pytest.mark.parametrize(
    "options",
    [
        {"cache_implementation": "static"},
        {"use_cache": False},
        {"num_beams": 1, "do_sample": False, "renormalize_logits": True},
    ],
)
@pytest.mark.parametrize("phase", ["prefill", "prefill+decode"])
def test_other_caches_give_the_same_tokens(
    vlm: VLM, guard: VlmGuard, inputs: dict[str, Tensor], options: dict[str, Any], phase: str
) -> None:
    with replace(guard, phase=phase).on(vlm):  # type: ignore[arg-type]
        assert generated(vlm.model, inputs, **options) == generated(vlm.model, inputs)


@pytest.mark.parametrize("phase", ["prefill", "prefill+decode"])
def test_guessing_the_answer_from_the_prompt_gives_the_same_tokens(vlm: VLM, guard: VlmGuard, phase: str) -> None:
    for sample in tiny.samples():
        inputs = vlm.encode([sample]).inputs
        with replace(guard, phase=phase).on(vlm):  # type: ignore[arg-type]
            assert generated(vlm.model, inputs, prompt_lookup_num_tokens=3) == generated(vlm.model, inputs)


@pytest.mark.parametrize("as_config", [False, True])
def test_a_prompt_read_in_pieces_is_refused(vlm: VLM, guard: VlmGuard, as_config: bool) -> None:
    inputs = vlm.encode([Sample.of("how do i find the lamp ?")]).inputs
    options: dict[str, Any] = {"prefill_chunk_size": 4, "max_new_tokens": 4}
    if as_config:
        options = {"generation_config": GenerationConfig(prefill_chunk_size=4, max_new_tokens=4, eos_token_id=2)}
    with guard.on(vlm), pytest.raises(EditError, match="in pieces, the first of 4.* Leave prefill_chunk_size out"):
        vlm.model.generate(**inputs, **options)


def test_guidance_by_a_second_prompt_is_refused(vlm: VLM, guard: VlmGuard) -> None:
    inputs = vlm.encode([Sample.of("how do i find the lamp ?")]).inputs
    with guard.on(vlm), pytest.raises(EditError, match=r"another prompt while it answered .* \(guidance_scale\)"):
        vlm.model.generate(**inputs, guidance_scale=2.0, max_new_tokens=3)


def test_a_cache_that_was_filled_outside_is_refused(vlm: VLM, guard: VlmGuard, inputs: dict[str, Tensor]) -> None:
    with torch.no_grad():
        filled = vlm.model(**inputs, use_cache=True).past_key_values
    token = torch.full((len(inputs["input_ids"]), 1), 7)
    with guard.on(vlm):
        with pytest.raises(EditError, match="a cache that was filled outside the guard"):
            vlm.model(input_ids=token, past_key_values=filled)
        with pytest.raises(EditError, match="a cache that was filled outside the guard"):
            vlm.model.generate(
                input_ids=torch.cat([inputs["input_ids"], token], dim=1), past_key_values=filled, max_new_tokens=2
            )


def test_a_loop_of_ones_own_is_guarded_and_a_second_request_in_its_cache_refused(vlm: VLM, guard: VlmGuard) -> None:
    inputs = vlm.encode([Sample.of("how do i find the lamp ?")]).inputs
    with guard.on(vlm), torch.no_grad():
        expected = generated(vlm.model, inputs, max_new_tokens=4)[0]
        out = vlm.model(**inputs, use_cache=True)
        found = []
        for _ in range(4):
            token = out.logits[:, -1:].argmax(-1)
            found.append(int(token))
            out = vlm.model(input_ids=token, past_key_values=out.past_key_values)
        assert found == expected
        with pytest.raises(EditError, match="cannot tell a new request from an answer"):
            vlm.model(input_ids=inputs["input_ids"], past_key_values=out.past_key_values)


def test_inputs_without_tokens_are_refused(vlm: VLM, guard: VlmGuard) -> None:
    embeddings = torch.zeros(1, 3, vlm.anatomy.hidden_size)
    with guard.on(vlm):
        with pytest.raises(EditError, match="called without input_ids"):
            vlm.model(inputs_embeds=embeddings)
        with pytest.raises(EditError, match="called without input_ids"):
            vlm.model.generate(inputs_embeds=embeddings, max_new_tokens=2)


def test_a_mask_of_unknown_form_is_refused(vlm: VLM, guard: VlmGuard, inputs: dict[str, Tensor]) -> None:
    ids = inputs["input_ids"][:1, -8:]
    with guard.on(vlm), pytest.raises(EditError, match="attention_mask of the form rows x tokens"):
        vlm.model(input_ids=ids, attention_mask=torch.ones(1, 1, 8, 8, dtype=torch.bool))


def test_two_threads_at_once_are_refused(vlm: VLM, guard: VlmGuard, inputs: dict[str, Tensor]) -> None:
    errors: list[BaseException] = []

    def second(_: Tensor, scores: Tensor) -> Tensor:
        def call() -> None:
            try:
                generated(vlm.model, inputs)
            except EditError as error:
                errors.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        return scores

    with guard.on(vlm):
        expected = generated(vlm.model, inputs)
        assert generated(vlm.model, inputs, logits_processor=[second]) == expected
    assert errors
    assert all("another call of it is running" in str(error) for error in errors)


def test_two_guards_stand_together_and_leave_together(vlm: VLM, inputs: dict[str, Tensor]) -> None:
    one, two = tiny.guard(vlm, layers=[1]), tiny.guard(vlm, layers=[2], kind="shift")
    plain, before = generated(vlm.model, inputs), tiny.hooks(vlm.model)
    with one.on(vlm):
        alone = generated(vlm.model, inputs)
        with two.on(vlm) as trace:
            both = generated(vlm.model, inputs)
        assert generated(vlm.model, inputs) == alone
    assert trace.fired == {2: 1}
    assert len({str(answers) for answers in (plain, alone, both)}) == 3
    assert (generated(vlm.model, inputs), tiny.hooks(vlm.model)) == (plain, before)


def test_a_generate_that_someone_put_in_place_is_put_back(guard: VlmGuard, inputs: dict[str, Tensor]) -> None:
    model = tiny.llava()
    original = model.generate

    def own(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    model.generate = own
    with guard.on(model):
        assert generated(model, inputs) != generated(tiny.llava(), inputs)
    assert vars(model)["generate"] is own


def test_gradients_flow_through_a_guarded_training_step(guard: VlmGuard, inputs: dict[str, Tensor]) -> None:
    def gradient(model: Any) -> Tensor:
        model(**inputs).logits[:, -1].sum().backward()
        found: Tensor = model.get_input_embeddings().weight.grad
        return found

    model = tiny.llava().train()
    with guard.on(model):
        guarded = gradient(model)
    assert guarded.abs().sum() > 0
    assert not torch.allclose(guarded, gradient(tiny.llava().train()))


def test_right_padding_of_a_bare_call_is_understood(vlm: VLM, guard: VlmGuard) -> None:
    rows = [vlm.encode([sample]).rows[0] for sample in (Sample.of("how ?"), Sample.of("what is this ?"))]
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    last = vlm.anatomy.depth - 1
    with guard.on(vlm), torch.no_grad():
        together = vlm.model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[last]
        for i, row in enumerate(rows):
            alone = vlm.model(input_ids=torch.tensor([row]), output_hidden_states=True).hidden_states[last]
            torch.testing.assert_close(together[i, len(row) - 1], alone[0, -1], rtol=1e-4, atol=1e-4)


def test_steered_states_are_the_plain_ones_before_the_first_edited_layer(vlm: VLM, guard: VlmGuard) -> None:
    samples, first = tiny.samples(), guard.layers[0]
    steered = steer(vlm, guard).states(samples, range(vlm.anatomy.depth), batch=3)
    plain = prompt_states(vlm, samples, range(vlm.anatomy.depth), batch=8)
    torch.testing.assert_close(steered[:first], plain[:first], rtol=1e-4, atol=1e-4)
    # without a picture the prompt is its own reference, and is replaced by itself
    changed = (steered[first] - plain[first]).abs().amax(1) > 1e-3
    assert changed.tolist() == [bool(sample.images) for sample in samples]


def test_memory_is_shared_between_guards_of_one_model(vlm: VLM, guard: VlmGuard) -> None:
    memory = Memory()
    steer(vlm, guard, memory=memory)(tiny.samples())
    reads = memory.reads
    steer(vlm, replace(guard, alpha=2.0), memory=memory)(tiny.samples())
    assert memory.reads == reads > 0


def test_states_of_other_weights_are_read_anew_after_clear(vlm: VLM) -> None:
    model = VLM(tiny.llava(), tiny.processor())
    safe = steer(model, tiny.guard(model), other_model=True)
    before = safe.states(tiny.samples(), [2])
    with torch.no_grad():
        for parameter in model.anatomy.decoder.parameters():
            parameter.mul_(1.2)
    safe.memory.clear()
    with pytest.warns(UserWarning, match="not made for: weights"):
        fresh = steer(model, safe.method, other_model=True).states(tiny.samples(), [2])
    torch.testing.assert_close(safe.states(tiny.samples(), [2]), fresh)
    assert not torch.allclose(before, fresh)


def test_an_edit_that_never_ran_withholds_the_answer(vlm: VLM, guard: VlmGuard) -> None:
    with (
        pytest.raises(EditNeverRan, match=r"vlm_guard was to edit layers \[1, 2, 3\].* withheld"),
        steer(vlm, guard).around(vlm.encode(tiny.samples())),
    ):
        pass


def test_another_model_is_refused_unless_meant(vlm: VLM, guard: VlmGuard, inputs: dict[str, Tensor]) -> None:
    other, wider = tiny.vlm(seed=1), tiny.vlm(hidden=48)
    with pytest.raises(FingerprintMismatch, match="made for another model: weights.*sightguard fit.*other_model=True"):
        steer(other, guard)
    with pytest.raises(FingerprintMismatch, match="weights: the decoder's values differ"), guard.on(other.model):
        pass
    with pytest.raises(FingerprintMismatch, match="hidden size: 32 here, 48 there"), guard.on(wider.model):
        pass
    with pytest.warns(UserWarning, match="not made for: weights: the decoder's values differ"):
        forced = steer(other, guard, other_model=True)
    assert {answer.methods for answer in forced(tiny.samples())} == {("vlm_guard (made for another model)",)}
    with pytest.warns(UserWarning, match="not made for"), guard.on(other.model, other_model=True):
        assert generated(other.model, inputs)
    with pytest.raises(FingerprintMismatch, match="hidden size: 32 here, 48 there"):
        steer(wider, guard, other_model=True)


def test_the_same_weights_at_another_precision_are_used_with_a_warning_and_others_are_not(guard: VlmGuard) -> None:
    same, other = (VLM(tiny.llava(seed=seed).bfloat16(), tiny.processor(), max_new_tokens=6) for seed in (0, 1))
    with pytest.warns(UserWarning, match="another precision than it was fitted at .*float32 here, bfloat16 there"):
        assert steer(same, guard)(tiny.samples())
    with pytest.raises(FingerprintMismatch, match="weights: the decoder's values differ"):
        steer(other, guard)
    with pytest.raises(FingerprintMismatch, match="weights: the decoder's values differ"), guard.on(other.model):
        pass


def test_weights_that_changed_after_the_model_was_wrapped_are_noticed() -> None:
    model = tiny.vlm()
    guard = tiny.guard(model)
    with torch.no_grad():
        next(model.anatomy.blocks[0].parameters()).mul_(2)
    with pytest.raises(FingerprintMismatch, match="weights: the decoder's values differ"):
        steer(model, guard)


def test_guarding_a_model_that_is_never_called_is_an_error(vlm: VLM, guard: VlmGuard) -> None:
    with pytest.raises(EditNeverRan, match="was never called; if another copy"), guard.on(vlm):
        pass


def test_guards_may_leave_in_any_order(vlm: VLM, guard: VlmGuard, inputs: dict[str, Tensor]) -> None:
    plain = generated(vlm.model, inputs)
    before = tiny.hooks(vlm.model)
    first, second = guard.on(vlm), replace(guard, layers=(0,)).on(vlm)
    first.__enter__()
    second.__enter__()
    both = generated(vlm.model, inputs)
    first.__exit__(None, None, None)
    one = generated(vlm.model, inputs)
    second.__exit__(None, None, None)
    assert tiny.hooks(vlm.model) == before
    assert "generate" not in vars(vlm.model)
    assert generated(vlm.model, inputs) == plain
    with replace(guard, layers=(0,)).on(vlm):
        assert generated(vlm.model, inputs) == one
    assert len({str(answers) for answers in (plain, both, one)}) == 3


def test_threads_that_share_a_model_get_their_own_answers(vlm: VLM, guard: VlmGuard) -> None:
    models: list[VLM | Steered] = [vlm, steer(vlm, guard), steer(vlm, replace(guard, layers=(0,), alpha=3.0))]
    prompts = tiny.samples()
    alone = [[answer.text for answer in model.generate(prompts)] for model in models]
    assert len({str(answers) for answers in alone}) == 3
    jobs = [(model, expected) for _ in range(6) for model, expected in zip(models, alone, strict=True)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda job: [answer.text for answer in job[0].generate(prompts)], jobs))
    assert found == [expected for _, expected in jobs]


def test_another_prompt_under_an_open_guard_is_refused(vlm: VLM, guard: VlmGuard) -> None:
    with (
        pytest.raises(EditError, match="other prompts than the batch"),
        steer(vlm, guard).around(vlm.encode(tiny.samples()[:2])),
    ):
        vlm(tiny.samples()[3:5])


def test_a_reference_that_overflows_is_an_error_and_never_an_open_gate(vlm: VLM, guard: VlmGuard) -> None:
    safe = steer(vlm, guard)
    safe(tiny.samples())
    for state in safe.memory.states.values():
        state[...] = torch.nan
    with pytest.raises(EditError, match="the text-only reference of a prompt is not finite"):
        safe(tiny.samples())
    with pytest.raises(DataError, match="vectors .* not finite"):
        replace(guard.directions, vectors=guard.directions.vectors * torch.nan)


def test_a_layer_that_the_model_lacks_is_refused(vlm: VLM, guard: VlmGuard) -> None:
    shallow = tiny.vlm(layers=2)
    with pytest.raises(UnknownName, match="no layer '2'. Known: 0, 1. Layer l is the output of decoder block l"):
        steer(shallow, guard)
    with pytest.raises(UnknownName, match="no layer '2'"), on(guard, shallow.model):
        pass
    with pytest.raises(UnknownName, match="no layer '4'"):
        find_anatomy(vlm.model).check_layers([4])
    with pytest.raises(UnknownName, match="no layer '-1'"):
        tiny.guard(vlm, layers=[-1])


def test_fitting_needs_pairs(vlm: VLM) -> None:
    with pytest.raises(UsageError, match="at least 2 pairs .* got 1"):
        VlmGuard.fit(vlm, tiny.pairs(1))
    with pytest.raises(UsageError, match="m must be between 1 and 8.*got 0"):
        VlmGuard.fit(vlm, tiny.pairs(), m=0)


def test_reading_states_inside_a_guard_is_refused_for_text_and_guarded_for_prompts(vlm: VLM, guard: VlmGuard) -> None:
    rows = [(5, 6, 7)]
    with guard.on(vlm):
        with pytest.raises(EditError, match="called by itself"):
            text_states(vlm.anatomy, rows, [1], pad=0)
        inside = prompt_states(vlm, tiny.samples(), [2])
    torch.testing.assert_close(inside, steer(vlm, guard).states(tiny.samples(), [2]), rtol=1e-4, atol=1e-4)
