// All keys of the page in a dialog; the list is the server's (annotate/keys.py), as under Account.

import { make } from "./inert.js";
import { button } from "./layout.js";

export class KeyList {
  constructor() {
    this.rows = make("tbody");
    this.root = make("dialog", { class: "pf-keys", "aria-labelledby": "pf-keys-title" },
      make("div", { class: "pf-keys-inside" },
        make("div", { class: "pf-guide-head" }, make("h2", { id: "pf-keys-title" }, "Keys"),
          button("Close", "Esc", () => this.root.close(), { "aria-label": "Close the keys" })),
        make("table", {}, make("thead", {}, make("tr", {}, make("th", {}, "Key"),
          make("th", {}, "Does"))), this.rows)));
    this.root.addEventListener("click", (event) => { // beside it
      if (event.target === this.root) this.root.close();
    });
  }

  get isOpen() {
    return this.root.open;
  }

  toggle(keys) {
    if (this.isOpen) {
      this.root.close();
      return;
    }
    this.rows.replaceChildren(...keys.map(([key, does]) => make("tr", {},
      make("td", {}, make("kbd", {}, key)), make("td", {}, does))));
    this.root.showModal(); // nothing behind it can be pressed, and the focus comes back afterwards
  }
}
