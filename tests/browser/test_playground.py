"""The playground in Chromium, before a real server: the embedded model behind a guard and a safety head, or an engine whose words are known."""

from __future__ import annotations

import base64
import re
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, FilePayload, Page, expect

from sightguard.engine.guarded import Guarded
from sightguard.engine.local import LocalEngine
from sightguard.models.vlm import VLM
from sightguard.pocket import world
from sightguard.pocket.locate import SAFEVLM, find
from sightguard.safevlm.model import SafeVLM
from sightguard.serve.job import Event, Failed, GuardId, Inspection, Job, LayerGate, Piece, Proof
from sightguard.serve.keys import Keys
from sightguard.serve.pages import POLICY
from sightguard.serve.service import Service
from sightguard.serve.settings import Settings
from sightguard.steering.vlm_guard import VlmGuard
from sightguard.types import Image, Sample
from tests.serve.running import Scripted, metric, running

SAID, TAG, WHY = ".answer .said", ".answer .tag", ".answer .why"
PROMPTS = world.settings("validation", 6)
DIGEST = "0123456789ab" + "0" * 52


@dataclass
class Held:
    """The embedded model, which stops before each piece of its answer while `go` is not set."""

    inner: LocalEngine
    go: threading.Event = field(default_factory=threading.Event)
    jobs: list[Job] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def inspect(self, samples: Sequence[Sample]) -> list[Inspection]:
        return self.inner.inspect(samples)

    def answer(self, jobs: Sequence[Job]) -> None:
        self.jobs += jobs
        self.inner.answer([self._held(job) for job in jobs])

    def _held(self, job: Job) -> Job:
        told = job.tell
        pieces = 0

        def tell(event: Event) -> None:
            nonlocal pieces
            pieces += isinstance(event, Piece)
            while pieces > 1 and not self.go.wait(0.01) and not job.gone.is_set():
                pass
            told(event)

        return replace(job, tell=tell)


@pytest.fixture(scope="module")
def engine() -> Held:
    vlm = VLM.load("pocket")
    guard = VlmGuard.fit(vlm, world.anchors(40), layers=(4, 5), gate="text", threshold="midpoint")
    safe = SafeVLM.from_pretrained(find("pocket") / SAFEVLM, vlm)
    return Held(LocalEngine(Guarded(vlm, guard, safe), "pocket", GuardId("safevlm+vlm_guard", DIGEST)))


@pytest.fixture(scope="module")
def service(engine: Held) -> Service:
    return Service(engine, Settings(compare=True))


@pytest.fixture(scope="module")
def port(service: Service) -> Iterator[int]:
    with running(service) as found:
        yield found


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    opened = chromium.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    opened.set_default_timeout(20_000)
    yield opened
    opened.close()


def opened(context: BrowserContext, port: int, said: list[str], secret: str = "") -> Page:
    """The page, loaded; `said` gathers complaints, and addresses that are not the server's. With a secret, by the address that is printed."""
    page, here = context.new_page(), f"http://127.0.0.1:{port}/"
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("filechooser", lambda chooser: None)  # from the start: the first key press is faster than its interception
    page.on("request", lambda one: None if one.url.startswith((here, "data:", "blob:")) else said.append(one.url))
    page.goto(f"{here}#compare={secret}" if secret else here)
    expect(page.locator("#served")).not_to_be_empty()
    return page


@pytest.fixture
def page(context: BrowserContext, port: int, engine: Held, service: Service) -> Iterator[Page]:
    """The page of the embedded model; at its end it must have complained of nothing, and asked nobody else."""
    said: list[str] = []
    engine.go.set()
    found = opened(context, port, said, service.secret)
    yield found
    engine.go.set()
    assert said == []


def alone(page: Page) -> None:
    """Ask the guarded model alone."""
    page.click("summary")
    page.uncheck("#compare")
    page.click("summary")


def files(pictures: Sequence[Image]) -> list[FilePayload]:
    return [{"name": f"{i}.png", "mimeType": "image/png", "buffer": one.read()} for i, one in enumerate(pictures)]


def upload(page: Page, *samples: Sample) -> None:
    pictures = [one for sample in samples for one in sample.images]
    with page.expect_file_chooser() as chooser:
        page.click("#attach")
    chooser.value.set_files(files(pictures))
    expect(page.locator("#pictures img")).to_have_count(len(pictures))


def words(sample: Sample) -> str:
    return " ".join(part for part in sample.messages[-1].parts if isinstance(part, str))


def ask(page: Page, sample: Sample) -> None:
    if sample.images:
        upload(page, sample)
    page.fill("#question", words(sample))
    page.click("#send")
    expect(page.locator("#send")).to_be_visible()


def test_a_picture_is_sent_and_the_answer_grows_beside_what_the_guard_saw(page: Page, engine: Held) -> None:
    alone(page)
    sample = PROMPTS["benign_image"][0]
    engine.go.clear()
    upload(page, sample)
    page.fill("#question", words(sample))
    page.click("#send")
    expect(page.locator(SAID)).to_have_text("it")
    expect(page.locator(TAG)).to_have_text("writing")
    expect(page.locator(".answer dl")).to_contain_text("safe, level 0")
    expect(page.locator("#stop")).to_be_focused()
    engine.go.set()
    expect(page.locator(TAG)).to_have_text("answered")
    expect(page.locator(SAID)).to_have_text(str(sample.meta["answer"]))
    (sent,) = (part for part in engine.jobs[-1].sample.messages[-1].parts if isinstance(part, Image))
    assert sent.read() == sample.images[0].read()
    facts = page.locator(".answer dl")
    for shown in (
        "safe:answer",
        "1 text, 1 picture",
        f"safevlm+vlm_guard {DIGEST[:12]}",
        "read, 5 written",
        "chatcmpl-",
    ):
        expect(facts).to_contain_text(shown)
    assert page.inner_text(".answer dd:nth-of-type(6)").count(" s") == 2
    expect(page.locator(".layer")).to_have_count(2)
    expect(page.locator(".answer .gate")).to_have_attribute("aria-label", engine_label(engine, sample))
    expect(page.locator(".turn .asked img")).to_have_count(1)
    expect(page.locator("#pictures img")).to_have_count(0)


def engine_label(engine: Held, sample: Sample) -> re.Pattern[str]:
    gate = engine.inspect([sample])[0].gate
    return re.compile("; ".join(rf"layer {one.layer}: -?[\d.]+, threshold [\d.]+" for one in gate))


def test_a_refusal_is_told_apart_the_models_by_its_rule_and_the_guards(page: Page) -> None:
    alone(page)
    harmful = PROMPTS["blank_image"][1]
    ask(page, harmful)
    expect(page.locator(TAG)).to_have_text("refused by the model")
    expect(page.locator(WHY)).to_have_text("In its own words, told to by the rule fraud/3:refuse.")
    expect(page.locator(SAID)).to_have_text(world.REFUSAL)
    page.click("#clear")
    page.click("summary")
    page.check("#block")
    ask(page, harmful)
    expect(page.locator(TAG)).to_have_text("refused by the guard")
    expect(page.locator(WHY)).to_contain_text("The model was not heard.")
    expect(page.locator(SAID)).to_contain_text("the request was flagged")
    expect(page.locator(".answer dl")).to_contain_text("moderation_block")


def test_side_by_side_each_answer_without_the_guard_is_counted(page: Page, port: int, engine: Held) -> None:
    before = metric(port, "sightguard_bypasses_total")
    ask(page, PROMPTS["benign_image"][0])
    expect(page.locator(TAG)).to_have_count(2)
    expect(page.locator(".plain .who")).to_have_text("Without the guard")
    expect(page.locator(".plain dl")).to_contain_text("bypass")
    expect(page.locator(".plain .gate")).to_be_hidden()
    left, right = (box for one in page.locator(".answer").all() if (box := one.bounding_box()))
    assert left["x"] + left["width"] < right["x"]
    assert sorted(job.plain for job in engine.jobs[-2:]) == [False, True]
    assert metric(port, "sightguard_bypasses_total") - before == 1
    alone(page)
    ask(page, PROMPTS["benign_image"][1])
    assert metric(port, "sightguard_bypasses_total") - before == 1


def test_without_the_secret_the_page_says_how_to_get_it(
    context: BrowserContext, port: int, engine: Held, service: Service
) -> None:
    said: list[str] = []
    engine.go.set()
    page = opened(context, port, said)
    expect(page.locator("#compare-note")).to_contain_text("printed on its terminal")
    page.click("summary")
    expect(page.locator("#compare")).to_be_disabled()
    expect(page.locator("#compare")).not_to_be_checked()
    page.click("summary")
    before = len(engine.jobs)
    ask(page, PROMPTS["benign_image"][0])
    expect(page.locator(TAG)).to_have_count(1)
    assert [job.plain for job in engine.jobs[before:]] == [False]
    page.goto(f"http://127.0.0.1:{port}/#compare={service.secret}")  # put into the same page, which is not loaded anew
    expect(page.locator("#compare-note")).to_be_hidden()
    expect(page.locator("#compare")).to_be_checked()
    ask(page, PROMPTS["benign_image"][0])
    expect(page.locator(".plain .tag")).to_have_text("answered")
    assert sorted(job.plain for job in engine.jobs[before:]) == [False, False, True]
    assert said == []


def test_the_secret_of_another_start_opens_nothing(context: BrowserContext, port: int, engine: Held) -> None:
    said: list[str] = []
    engine.go.set()
    page = opened(context, port, said, "of-another-start")
    before = len(engine.jobs)
    ask(page, PROMPTS["benign_image"][0])
    expect(page.locator(".plain .tag")).to_have_text("no answer")
    expect(page.locator(".plain .why")).to_contain_text("printed on its terminal")
    assert [job.plain for job in engine.jobs[before:]] == [False]
    assert [line for line in said if "403" not in line] == []


def test_the_secret_goes_with_no_other_request(page: Page, service: Service) -> None:
    sent = []
    page.on("request", lambda one: sent.append((one.url, one.headers, one.post_data or "")))
    ask(page, PROMPTS["benign_image"][0])
    expect(page.locator(TAG)).to_have_count(2)
    expect(page.locator(".answer .heard[aria-busy=false]")).to_have_count(2)
    known = {url.rsplit("/", 1)[-1]: service.secret in (f"{url}{headers}{body}") for url, headers, body in sent}
    assert known == {"completions": False, "outcome": False, "plain": True}
    assert not any(service.secret in url + body for url, _, body in sent)


def test_by_keyboard_alone(page: Page, engine: Held) -> None:
    expect(page.locator("#question")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.locator("summary")).to_be_focused()
    assert page.eval_on_selector("summary:focus", "one => getComputedStyle(one).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    seen = []
    for _ in range(7):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id"))
    assert seen == ["temperature", "tokens", "key", "system", "remember", "block", "compare"]
    page.keyboard.press("Space")
    assert not page.is_checked("#compare")
    page.keyboard.press("Tab")
    page.keyboard.type("what shape")
    page.keyboard.press("Shift+Enter")
    assert page.input_value("#question") == "what shape\n"
    page.keyboard.press("Backspace")
    page.keyboard.type(" do you see ?")
    page.keyboard.press("Tab")
    expect(page.locator("#attach")).to_be_focused()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(files([PROMPTS["benign_image"][i].images[0] for i in range(2)]))
    expect(page.locator("#pictures img")).to_have_count(2)
    expect(page.locator("#question")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Remove picture 2: 1.png")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Remove picture 1: 0.png")).to_be_focused()
    page.keyboard.press("Tab")
    engine.go.clear()
    page.keyboard.press("Enter")
    expect(page.locator(SAID)).not_to_be_empty()
    page.keyboard.press("Escape")
    expect(page.locator(TAG)).to_have_text("stopped")
    expect(page.locator("#question")).to_be_focused()
    assert engine.jobs[-1].gone.wait(20)


def test_stop_ends_the_answer_at_the_server_too(page: Page, engine: Held) -> None:
    alone(page)
    engine.go.clear()
    page.fill("#question", words(PROMPTS["benign_text"][0]))
    page.click("#send")
    expect(page.locator(SAID)).not_to_be_empty()
    page.click("#stop")
    expect(page.locator(TAG)).to_have_text("stopped")
    assert engine.jobs[-1].gone.wait(20)
    expect(page.locator("#question")).to_be_focused()
    engine.go.set()
    page.click("#clear")
    expect(page.locator(".turn")).to_have_count(0)
    ask(page, PROMPTS["benign_text"][1])
    expect(page.locator(TAG).last).to_have_text("answered")


MOVE = """([data, kind]) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const held = new DataTransfer();
  for (const name of ["a.png", "b.png"]) held.items.add(new File([bytes], name, { type: "image/png" }));
  held.items.add(new File(["words"], "c.txt", { type: "text/plain" }));
  const event = kind === "drop" ? new DragEvent(kind, { dataTransfer: held, bubbles: true, cancelable: true })
    : new ClipboardEvent(kind, { clipboardData: held, bubbles: true, cancelable: true });
  document.querySelector("#question").dispatchEvent(event);
  return event.defaultPrevented;
}"""


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_pictures_come_by_drop_and_by_paste_and_go_again(page: Page, kind: str) -> None:
    data = base64.b64encode(PROMPTS["benign_image"][0].images[0].read()).decode()
    assert page.evaluate(MOVE, [data, kind]) is True
    expect(page.locator("#pictures img")).to_have_count(2)
    expect(page.locator("#trouble")).to_contain_text("others were left out")
    page.get_by_role("button", name="Remove picture 1: a.png").click()
    expect(page.locator("#pictures img")).to_have_attribute("alt", "picture 1: b.png")


def width(page: Page) -> tuple[int, int]:
    found = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    return found[0], found[1]


def test_a_telephone_shows_all_of_it_without_scrolling_sideways(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.click("summary")
    ask(page, PROMPTS["blank_image"][1])
    page.fill("#question", "w" * 300)
    page.click("#send")
    expect(page.locator(TAG)).to_have_count(4)
    expect(page.locator("#send")).to_be_visible()
    upload(page, *PROMPTS["benign_image"][:4])
    page.fill("#question", "w" * 300)
    assert width(page) == (390, 390)
    bottom = page.locator("#send").bounding_box()
    assert bottom is not None
    assert bottom["y"] + bottom["height"] <= 844


def test_what_a_system_prefers_is_kept_to(context: BrowserContext, port: int) -> None:
    said: list[str] = []
    colours = []
    for scheme in ("light", "dark"):
        page = opened(context, port, said)
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        colours.append(page.evaluate("[document.body, document.querySelector('h1')].map((one) => "
                                     "getComputedStyle(one)).flatMap((one) => [one.backgroundColor, one.color])"))  # fmt: skip
    assert colours[0][:2] == ["rgb(255, 255, 255)", "rgb(29, 39, 51)"]
    assert colours[1][:2] == ["rgb(18, 23, 29)", "rgb(230, 235, 240)"]
    assert said == []


def test_the_browser_is_told_to_run_nothing_else(port: int) -> None:
    for path in ("", "playground/app.js", "playground/style.css", "playground/settings.json"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}") as got:
            assert got.headers["Content-Security-Policy"] == POLICY
            assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert "unsafe" not in POLICY


@pytest.fixture
def scripted(context: BrowserContext) -> Iterator[tuple[Scripted, Page]]:
    """A page before an engine that says what it is told to say, without the comparison."""
    engine, said = Scripted(), list[str]()
    with running(Service(engine, Settings())) as port:
        yield engine, opened(context, port, said)
    assert said == []


def test_what_a_model_says_is_text_and_never_becomes_part_of_the_page(scripted: tuple[Scripted, Page]) -> None:
    engine, page = scripted
    engine.words = ("<img src=x onerror=document.title=1>", "<b>bold</b>\n", "next & last")
    page.fill("#question", "<i>hello</i>")
    page.keyboard.press("Enter")
    expect(page.locator(TAG)).to_have_text("answered")
    assert page.text_content(SAID) == "".join(engine.words)
    assert page.text_content(".asked p") == "<i>hello</i>"
    assert page.locator(":is(.said, .asked) :is(b, i, p img)").count() == 0
    assert page.title() == "Sightguard playground"


def test_without_the_flag_there_is_no_second_answer(scripted: tuple[Scripted, Page]) -> None:
    engine, page = scripted
    page.click("summary")
    expect(page.locator("#compare")).to_be_hidden()
    page.fill("#question", "hello")
    page.click("#send")
    expect(page.locator(TAG)).to_have_text("answered")
    assert [job.plain for job in engine.jobs] == [False]


def test_settings_and_earlier_turns_reach_the_engine(scripted: tuple[Scripted, Page]) -> None:
    engine, page = scripted
    page.click("summary")
    page.fill("#temperature", "0.7")
    page.fill("#tokens", "7")
    page.fill("#system", "be brief")
    for question in ("one", "two"):
        page.fill("#question", question)
        page.keyboard.press("Tab")
        page.click("#send")
        expect(page.locator("#send")).to_be_visible()
    told = [(turn.role, *turn.parts) for turn in engine.jobs[-1].sample.messages]
    said = "".join(engine.words)
    assert told == [("system", "be brief"), ("user", "one"), ("assistant", said), ("user", "two")]
    assert (engine.jobs[-1].decoding.temperature, engine.jobs[-1].decoding.max_tokens) == (0.7, 7)
    page.uncheck("#remember")
    page.fill("#question", "three")
    page.click("#send")
    expect(page.locator(TAG)).to_have_count(3)
    expect(page.locator("#send")).to_be_visible()
    assert [turn.parts for turn in engine.jobs[-1].sample.messages] == [("be brief",), ("three",)]
    page.fill("#tokens", "100000")
    page.fill("#question", "four")
    page.click("#send")
    expect(page.locator(TAG)).to_have_count(3)  # the field says what it takes


def test_a_guard_that_fails_takes_back_what_was_shown(scripted: tuple[Scripted, Page]) -> None:
    engine, page = scripted

    def answer(jobs: Sequence[Job]) -> None:
        for job in jobs:
            gate = tuple(LayerGate(i, float(i), 20.5, i > 20) for i in range(40))
            for event in (Proof({"text": 1}, gate=gate), Piece("half an answer"), Failed("guard_error", "x")):
                job.tell(event)

    engine.answer = answer  # type: ignore[method-assign]
    page.fill("#question", "hello")
    page.click("#send")
    expect(page.locator(TAG)).to_have_text("refused by the guard")
    expect(page.locator(SAID)).not_to_contain_text("half")
    expect(page.locator(".layer.fired")).to_have_count(19)
    assert page.eval_on_selector(".answer .gate", "one => one.clientHeight") <= 240


def test_a_key_is_asked_for_sent_and_never_stored(context: BrowserContext) -> None:
    said: list[str] = []
    with running(Service(Scripted(), Settings(), Keys.of(["open-sesame"]))) as port:
        page = opened(context, port, said)
        expect(page.locator("#key")).to_be_visible()
        page.fill("#question", "hello")
        page.click("#send")
        expect(page.locator(TAG)).to_have_text("no answer")
        expect(page.locator(WHY)).to_contain_text("API key")
        page.fill("#key", "open-sesame")
        page.fill("#question", "hello")
        page.click("#send")
        expect(page.locator(TAG).last).to_have_text("answered")
        assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
        page.reload()
        assert page.input_value("#key") == ""
    assert [line for line in said if "401" not in line] == []
