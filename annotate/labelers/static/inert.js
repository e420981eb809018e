// The last wall before hostile text: the server has sanitised this HTML (annotate/rendering.py),
// and here everything that it should not hold is taken out again, before the document sees it.

const HTML = new Set(("p br hr strong em s code pre blockquote ul ol li h1 h2 h3 h4 h5 h6 table "
  + "thead tbody tr th td span div details summary").split(" "));
const MATH = new Set(("math mrow mi mn mo ms mtext mspace mfrac msqrt mroot mstyle msub msup "
  + "msubsup munder mover munderover mmultiscripts mprescripts none mtable mtr mtd "
  + "menclose").split(" "));
const ATTRIBUTES = new Set(("start class dir tabindex display mathvariant stretchy fence form "
  + "separator largeop movablelimits accent accentunder symmetric width linethickness notation "
  + "displaystyle scriptlevel columnalign rowlines columnlines").split(" "));

/** A fragment of the HTML in which nothing can run or load. */
export function inert(html) {
  const template = document.createElement("template"); // its document runs and loads nothing
  template.innerHTML = html;
  for (const element of [...template.content.querySelectorAll("*")]) {
    const math = element.namespaceURI === "http://www.w3.org/1998/Math/MathML";
    if (!(math ? MATH : HTML).has(element.localName)) {
      element.replaceWith(document.createTextNode(element.textContent));
      continue;
    }
    for (const { name } of [...element.attributes]) {
      if (!ATTRIBUTES.has(name)) element.removeAttribute(name);
    }
  }
  return template.content;
}

/** `make("p", {class: "x"}, "text", node…)`: an element of our own. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) continue;
    // ARIA's states are words; HTML's attributes are there or not.
    if (key.startsWith("aria-")) element.setAttribute(key, `${value}`);
    else if (value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
