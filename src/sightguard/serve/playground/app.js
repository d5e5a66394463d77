// The page: what is asked, with which settings, and where the answers go.

import { Answer } from "./answer.js";
import { ask, outcome } from "./chat.js";
import { Pictures, thumb } from "./pictures.js";

const at = (id) => document.getElementById(id);
const GUARDED = "v1/chat/completions";
const PLAIN = "playground/plain";

let server = { model: "", compare: false };
let turns = [];
let running = null;

const say = (text) => { at("trouble").textContent = text; };
const pictures = new Pictures(at("pictures"), say, at("question"));

function content(turn) {
  const images = turn.pictures.map((picture) => ({ type: "image_url", image_url: { url: picture.url } }));
  return turn.text ? [...images, { type: "text", text: turn.text }] : images;
}

// Each side hears its own earlier answers; a turn that it has no answer to is left out.
function messages(turn, side) {
  const system = at("system").value.trim();
  const earlier = at("remember").checked ? turns.filter((one) => one[side] && !one[side].error && (one[side].refusal || one[side].text)) : [];
  return [
    ...(system ? [{ role: "system", content: system }] : []),
    ...earlier.flatMap((one) => [
      { role: "user", content: content(one) },
      { role: "assistant", ...(one[side].refusal ? { refusal: one[side].refusal } : { content: one[side].text }) },
    ]),
    { role: "user", content: content(turn) },
  ];
}

function body(turn, side) {
  const number = (id) => (at(id).value === "" ? {} : { [id === "tokens" ? "max_tokens" : id]: at(id).valueAsNumber });
  const block = side === "guarded" && at("block").checked;
  return {
    model: server.model,
    messages: messages(turn, side),
    stream: true,
    stream_options: { include_usage: true },
    ...number("temperature"),
    ...number("tokens"),
    ...(block ? { moderation: { model: server.inspector, policy: { input: { mode: "block" } } } } : {}),
  };
}

function shown(turn) {
  const place = at("turn").content.cloneNode(true).firstElementChild;
  place.querySelector(".shown").replaceChildren(...turn.pictures.map((picture, i) => {
    const item = document.createElement("li");
    item.append(thumb(picture, i));
    return item;
  }));
  place.querySelector(".shown").hidden = turn.pictures.length === 0;
  place.querySelector(".asked p").textContent = turn.text;
  at("empty").hidden = true;
  at("talk").append(place);
  return place.querySelector(".answers");
}

// Follows the answer as long as its end is in sight.
function following(change) {
  const page = document.scrollingElement;
  const near = page.scrollHeight - page.scrollTop - page.clientHeight < 80;
  change();
  if (near) page.scrollTop = page.scrollHeight;
}

async function answered(turn, side, place, signal) {
  const plain = side === "plain";
  const view = new Answer(plain ? "Without the guard" : `${server.model}, guarded`, plain);
  place.append(view.root);
  const told = await ask({
    path: plain ? PLAIN : GUARDED,
    body: body(turn, side),
    key: at("key").value,
    secret: plain ? secret() : "",
    signal,
    changed: (so_far) => following(() => view.show(so_far)),
  });
  if (told.status === 401) at("settings").open = true;
  const heard = told.text && !told.stopped && !told.error ? await outcome(told.text, at("key").value) : null;
  following(() => view.end(told, heard));
  return told;
}

async function send() {
  const text = at("question").value.trim();
  if (running) return;
  if (!text && pictures.held.length === 0) return say("Write a question, or add a picture.");
  if (![...document.querySelectorAll("#settings input")].every((input) => input.reportValidity())) return;
  const turn = { text, pictures: pictures.take() };
  at("question").value = "";
  say("");
  running = new AbortController();
  busy(true);
  const place = shown(turn);
  const sides = at("compare").checked ? ["guarded", "plain"] : ["guarded"];
  place.classList.toggle("two", sides.length === 2);
  const all = Promise.all(sides.map((side) => answered(turn, side, place, running.signal)));
  document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight;
  const told = await all;
  sides.forEach((side, i) => { turn[side] = told[i]; });
  turns.push(turn);
  running = null;
  busy(false);
}

function busy(on) {
  const held = document.activeElement;
  at("send").hidden = on;
  at("stop").hidden = !on;
  at("clear").hidden = on || turns.length === 0;
  if (on && held === at("send")) at("stop").focus();
  if (!on && (held === at("stop") || held === document.body)) at("question").focus();
}

// The secret of this start, by which the server gives answers without the guard; a browser sends what follows the # to nobody.
function secret() {
  return new URLSearchParams(location.hash.slice(1)).get("compare") ?? "";
}

function comparing() {
  const can = server.compare && secret() !== "";
  if (at("compare").disabled === can) at("compare").checked = can;
  at("compare").disabled = !can;
  at("compared").hidden = !server.compare;
  at("compare-note").hidden = !server.compare || can;
}

function clear() {
  turns = [];
  for (const turn of document.querySelectorAll(".turn")) turn.remove();
  at("empty").hidden = false;
  at("clear").hidden = true;
  at("question").focus();
}

window.addEventListener("hashchange", comparing);
at("ask").addEventListener("submit", (event) => { event.preventDefault(); send(); });
document.querySelector(".settings").addEventListener("submit", (event) => event.preventDefault());
at("stop").addEventListener("click", () => running?.abort());
at("clear").addEventListener("click", clear);
at("attach").addEventListener("click", () => at("file").click());
at("file").addEventListener("change", async () => {
  await pictures.add(at("file").files);
  at("file").value = "";
  at("question").focus();
});
at("question").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") running?.abort(); });
document.addEventListener("paste", (event) => {
  if (!event.clipboardData?.files.length) return;
  event.preventDefault();
  pictures.add(event.clipboardData.files);
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault(); // otherwise the browser would leave the page for the file
    at("ask").classList.toggle("over", kind === "dragover");
    if (kind === "drop") pictures.add(event.dataTransfer.files);
  });
}

try {
  server = await (await fetch("playground/settings.json")).json();
  at("served").textContent = `${server.model} behind ${server.guard}`;
  at("tokens").max = server.max_tokens;
  at("tokens").placeholder = server.max_tokens;
  comparing();
  pictures.limits = { images: server.max_images, bytes: server.max_image_bytes };
  at("settings").open = server.key;
} catch {
  say("The server cannot be reached. Load the page again when it runs.");
}
