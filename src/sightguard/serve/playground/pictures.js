// Pictures that wait to be sent: chosen, dropped or pasted.

const KINDS = ["image/png", "image/jpeg", "image/webp", "image/gif"];

const read = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = () => reject(new Error(`${file.name} cannot be read.`));
  reader.readAsDataURL(file);
});

export function thumb(picture, at) {
  const image = document.createElement("img");
  image.src = picture.url;
  image.alt = `picture ${at + 1}: ${picture.name}`;
  return image;
}

export class Pictures {
  constructor(list, say, empty) {
    Object.assign(this, { list, say, empty, held: [], limits: { images: Infinity, bytes: Infinity } });
  }

  async add(files) {
    const known = [...files];
    const good = known.filter((file) => KINDS.includes(file.type) && file.size <= this.limits.bytes);
    const room = this.limits.images - this.held.length;
    const added = await Promise.all(good.slice(0, Math.max(room, 0)).map(async (file) => ({ name: file.name, url: await read(file) })));
    this.held.push(...added);
    this.show();
    if (good.length < known.length) this.say("Only PNG, JPEG, WebP and GIF pictures within the server's limit of bytes can be sent; others were left out.");
    else if (good.length > room) this.say(`A question holds at most ${this.limits.images} pictures; the rest was left out.`);
    else this.say("");
  }

  take() {
    const taken = this.held;
    this.held = [];
    this.show();
    return taken;
  }

  show() {
    this.list.hidden = this.held.length === 0;
    this.list.replaceChildren(...this.held.map((picture, at) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "×";
      button.title = "Remove";
      button.setAttribute("aria-label", `Remove picture ${at + 1}: ${picture.name}`);
      button.addEventListener("click", () => {
        this.held.splice(at, 1);
        this.show();
        const left = this.list.querySelectorAll("button");
        (left[Math.min(at, left.length - 1)] ?? this.empty).focus();
      });
      item.append(thumb(picture, at), button);
      return item;
    }));
  }
}
