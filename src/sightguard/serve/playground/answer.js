// One answer on the page: what was said, by whom, and what the guard saw of the question.

import { draw, words } from "./gate.js";

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const parts = (counts) => `${plural(counts.text, "text")}, ${plural(counts.image, "picture")}`;
const time = (seconds) => (seconds === null ? "–" : seconds < 10 ? `${seconds.toFixed(2)} s` : `${seconds.toFixed(0)} s`);

export class Answer {
  constructor(who, plain) {
    this.root = document.getElementById("answer").content.cloneNode(true).firstElementChild;
    this.plain = plain;
    this.root.classList.toggle("plain", plain);
    this.at(".who").textContent = who;
  }

  at(selector) {
    return this.root.querySelector(selector);
  }

  tag(text, kind = "") {
    this.at(".tag").textContent = text;
    this.at(".tag").className = `tag ${kind}`;
  }

  // While it is written; everything that a model says goes in as text.
  show(told) {
    this.tag("writing");
    this.at(".said").textContent = told.refusal ?? told.text;
    if (told.proof && this.at(".proof").hidden) this.prove(told);
  }

  end(told, outcome) {
    this.at(".said").textContent = told.refusal ?? told.text;
    const [text, kind, why] = this.ending(told, outcome);
    this.tag(text, kind);
    this.at(".why").textContent = why;
    if (told.proof) this.prove(told);
    this.at(".heard").setAttribute("aria-busy", "false");
  }

  ending(told, outcome) {
    if (told.error) return ["no answer", "bad", told.error];
    if (told.stopped) return ["stopped", "", "You stopped it; the server writes no further."];
    if (told.refusal !== null) return ["refused by the guard", "guard", this.guarded(told.proof?.rule)];
    const asked = told.proof?.rule?.endsWith(":refuse");
    if (outcome === "refused") return ["refused by the model", "model", this.cause(told.proof)];
    if (outcome === "broken") return ["broken", "", "Nothing was said, or the same over and over."];
    if (told.finish === "length") return ["cut off", "", "It reached the longest answer that was asked for."];
    if (asked) return ["answered", "", `The rule ${told.proof.rule} told the model to refuse; by its words it did not.`];
    return ["answered", "", ""];
  }

  guarded(rule) {
    if (rule === "moderation_block") return "The inspectors flagged the question, and the settings ask to refuse it then. The model was not heard.";
    if (rule === "not_inspected") return "A part of the question could not be inspected. The model was not heard.";
    return "The check did not finish, so nothing of the model's leaves.";
  }

  // Why the model, whose own words these are, may have refused.
  cause(proof) {
    if (!proof || this.plain) return "In its own words, without any guard.";
    if (/:(may_)?refuse$/.test(proof.rule ?? "")) return `In its own words, told to by the rule ${proof.rule}.`;
    if (proof.gate?.fired) return `In its own words, after the guard's edit: the gate ${words(proof.gate)}.`;
    if (proof.gate) return "In its own words; no gate fired.";
    return "In its own words.";
  }

  prove(told) {
    const { proof } = told;
    const facts = [
      ["Verdict", this.verdict(proof)],
      ["Rule", proof.rule ?? "none"],
      ...(proof.gate ? [["Gate", words(proof.gate)]] : []),
      ["Received", parts(proof.parts.received)],
      ["Inspected", this.plain ? "nothing" : parts(proof.parts.inspected), this.unseen(proof) ? "bad" : ""],
      ["Time", `${time(told.first)} to the first text, ${time(told.total)} in all`],
      ["Tokens", told.usage ? `${told.usage.prompt_tokens} read, ${told.usage.completion_tokens} written` : "–"],
      ["Guard", this.plain ? "none" : `${proof.guard.id} ${proof.guard.sha256.slice(0, 12)}`, "", this.plain ? "" : proof.guard.sha256],
      ["Request", told.id ?? "–"],
    ];
    this.at(".proof").hidden = false;
    this.at("dl").replaceChildren(...facts.flatMap((fact) => this.fact(...fact)));
    this.at(".gate").hidden = this.at(".legend").hidden = !proof.gate;
    if (proof.gate) draw(this.at(".gate"), proof.gate);
  }

  unseen({ parts: { received, inspected } }) {
    return !this.plain && (inspected.image < received.image || inspected.text < received.text);
  }

  verdict({ verdict }) {
    if (!verdict) return this.plain ? "none: nothing looked" : "none: no picture, or no safety head";
    const likely = verdict.p_unsafe === null ? "no number" : verdict.p_unsafe.toFixed(3);
    return `${verdict.type}, level ${verdict.level}, p(unsafe) ${likely}`;
  }

  fact(name, value, kind = "", title = "") {
    const term = document.createElement("dt");
    const told = document.createElement("dd");
    term.textContent = name;
    told.textContent = value;
    told.className = kind;
    if (title) told.title = title;
    return [term, told];
  }
}
