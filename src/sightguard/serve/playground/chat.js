// One question to the server, and its answer as it comes in.

export class Refused extends Error {}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (data === "[DONE]") return;
      if (data) yield JSON.parse(data);
    }
  }
}

async function reason(response) {
  const told = await response.json().catch(() => null);
  return told?.error?.message ?? `the server answered with status ${response.status}.`;
}

function take(told, event, seconds) {
  if (event.error) throw new Refused(event.error.message);
  told.proof = event.sightguard ?? told.proof;
  told.usage = event.usage ?? told.usage;
  const choice = event.choices?.[0];
  if (!choice) return;
  if (choice.delta.content) {
    told.first ??= seconds;
    told.text += choice.delta.content;
  }
  if (choice.delta.refusal) {
    told.text = ""; // the guard withdraws what was written so far
    told.refusal = (told.refusal ?? "") + choice.delta.refusal;
  }
  told.finish = choice.finish_reason ?? told.finish;
}

function headers(key, secret) {
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}), ...(secret ? { "X-Sightguard-Compare": secret } : {}) };
}

// Resolves to what was told, also where that is an error; `changed` is called whenever there is more of it.
export async function ask({ path, body, key, secret, signal, changed }) {
  const told = { text: "", refusal: null, proof: null, finish: null, usage: null, id: null, first: null, total: null, error: null, status: null, stopped: false };
  const began = performance.now();
  const seconds = () => (performance.now() - began) / 1000;
  try {
    const response = await fetch(path, { method: "POST", headers: headers(key, secret), body: JSON.stringify(body), signal, credentials: "omit", cache: "no-store" });
    told.id = response.headers.get("x-request-id");
    told.status = response.status;
    if (!response.ok) throw new Refused(await reason(response));
    for await (const event of events(response.body)) {
      take(told, event, seconds());
      changed(told);
    }
    if (!told.finish) throw new Refused("the answer broke off before its end.");
  } catch (error) {
    if (signal.aborted) told.stopped = true;
    else told.error = error instanceof Refused ? error.message : `the server cannot be reached (${error.message}).`;
  }
  told.total = seconds();
  return told;
}

// How the bench's judge of refusals reads an answer: "refused", "complied", "broken", or null where it cannot be asked.
export async function outcome(text, key) {
  try {
    const body = JSON.stringify({ text: text.slice(0, 2000) });
    const response = await fetch("playground/outcome", { method: "POST", headers: headers(key), body, credentials: "omit", cache: "no-store" });
    return response.ok ? (await response.json()).outcome : null;
  } catch {
    return null;
  }
}
