// The gate's score at each layer, as a bar beside its threshold.

const shown = (value) => (value === null ? "no number" : Math.abs(value) >= 100 ? value.toFixed(0) : Math.abs(value) >= 1 ? value.toFixed(1) : value.toFixed(3));

function made(name, kind, text) {
  const found = document.createElement(name);
  found.className = kind;
  if (text !== undefined) found.textContent = text;
  return found;
}

export function words(gate) {
  const fired = gate.layers.filter((one) => one.fired).map((one) => one.layer);
  return fired.length ? `fired at layer${fired.length > 1 ? "s" : ""} ${fired.join(", ")}` : "did not fire";
}

export function draw(place, gate) {
  const numbers = gate.layers.flatMap((one) => [one.score, one.threshold]).filter((value) => value !== null);
  const low = Math.min(0, ...numbers);
  const span = (Math.max(0, ...numbers) - low) * 1.06 || 1;
  const at = (value) => `${(100 * (value - low)) / span}%`;
  place.replaceChildren(...gate.layers.map((one) => {
    const row = made("div", one.fired ? "layer fired" : "layer");
    const track = made("div", "track");
    if (one.score !== null) {
      const bar = made("i", "bar");
      bar.style.left = at(Math.min(0, one.score));
      bar.style.width = `${(100 * Math.abs(one.score)) / span}%`;
      track.append(bar);
    }
    if (one.threshold !== null) {
      const limit = made("i", "limit");
      limit.style.left = at(one.threshold);
      track.append(limit);
    }
    row.append(made("span", "name", `layer ${one.layer}`), track, made("span", "number", `${shown(one.score)} of ${shown(one.threshold)}`));
    return row;
  }));
  const told = gate.layers.map((one) => `layer ${one.layer}: ${shown(one.score)}, threshold ${shown(one.threshold)}${one.fired ? ", fired" : ""}`);
  place.setAttribute("aria-label", `Score of the gate by layer. ${told.join("; ")}.`);
}
