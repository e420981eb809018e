// What differs between two rendered texts: passages are paired first, then words within each pair.
// Marks are put around text nodes; no markup is ever made out of text.

const PASSAGES = "p, li, h1, h2, h3, h4, h5, h6, pre, td, th, summary, blockquote";
const MOST_CELLS = 4_000_000;
const MOST_PASSAGES = 400;
const ALIKE = 0.34;

const segmenter = Intl.Segmenter ? new Intl.Segmenter(undefined, { granularity: "word" }) : null;

/** Passages of a pane: each a list of words {text, node, from, to}. A formula is one word. */
function passagesOf(pane) {
  const passages = new Map();
  const walker = document.createTreeWalker(pane, NodeFilter.SHOW_ALL, (node) => {
    if (node.parentElement?.closest("math")) return NodeFilter.FILTER_REJECT;
    return node.nodeType === Node.TEXT_NODE || node.localName === "math"
      ? NodeFilter.FILTER_ACCEPT : NodeFilter.FILTER_SKIP;
  });
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const passage = node.parentElement.closest(PASSAGES) ?? pane;
    if (!passages.has(passage)) passages.set(passage, []);
    const words = passages.get(passage);
    if (node.nodeType !== Node.TEXT_NODE) {
      words.push({ text: node.textContent, node, from: 0, to: 0 });
    } else {
      for (const [text, from] of wordsOf(node.data)) {
        words.push({ text, node, from, to: from + text.length });
      }
    }
  }
  return [...passages.values()].filter((words) => words.length);
}

function wordsOf(text) {
  const found = segmenter
    ? [...segmenter.segment(text)].map((part) => [part.segment, part.index])
    : [...text.matchAll(/[\p{L}\p{N}\p{M}_]+|[^\s]/gu)].map((match) => [match[0], match.index]);
  return found.filter(([word]) => word.trim());
}

/** Marks, in each of two panes, the words that the other does not have in that place. */
export function markDifferences(left, right) {
  const [one, other] = [passagesOf(left), passagesOf(right)];
  const onlyLeft = new Set(one.flat());
  const onlyRight = new Set(other.flat());
  for (const [i, j] of pair(one, other)) {
    for (const [a, b] of common(one[i], other[j])) {
      onlyLeft.delete(a);
      onlyRight.delete(b);
    }
  }
  mark(one.flat(), onlyLeft);
  mark(other.flat(), onlyRight);
  return { left: onlyLeft.size, right: onlyRight.size };
}

/** Marks only in `pane` what `reference` does not have (for more than two responses). */
export function markAgainst(reference, pane) {
  const copy = reference.cloneNode(true);
  clear(copy);
  return markDifferences(copy, pane).right;
}

/** Takes all marks away. */
export function clear(pane) {
  for (const found of [...pane.querySelectorAll("mark.pf-differs")]) {
    if (found.firstChild?.localName === "math") found.replaceWith(found.firstChild);
    else found.replaceWith(document.createTextNode(found.textContent));
  }
  pane.normalize();
}

/** Pairs of passages, in order, that share enough words: the alignment with the most in common. */
function pair(one, other) {
  const [n, m] = [Math.min(one.length, MOST_PASSAGES), Math.min(other.length, MOST_PASSAGES)];
  if (n === 1 && m === 1) return [[0, 0]];
  const bags = [one, other].map((side) => side.map(bagOf));
  const likeness = (i, j) => {
    const value = alike(bags[0][i], one[i].length, bags[1][j], other[j].length);
    return value >= ALIKE ? value : 0;
  };
  const best = Array.from({ length: n + 1 }, () => new Float64Array(m + 1));
  for (let i = n - 1; i >= 0; i -= 1) {
    for (let j = m - 1; j >= 0; j -= 1) {
      const both = likeness(i, j);
      best[i][j] = Math.max(best[i + 1][j], best[i][j + 1], both ? both + best[i + 1][j + 1] : 0);
    }
  }
  const pairs = [];
  for (let i = 0, j = 0; i < n && j < m;) {
    if (best[i][j] === best[i + 1][j]) i += 1;
    else if (best[i][j] === best[i][j + 1]) j += 1;
    else pairs.push([i++, j++]);
  }
  return pairs;
}

function bagOf(words) {
  const bag = new Map();
  for (const { text } of words) bag.set(text, (bag.get(text) ?? 0) + 1);
  return bag;
}

/** Dice's coefficient of two bags of words: 1 for the same words, 0 for none in common. */
function alike(one, sizeOne, other, sizeOther) {
  let shared = 0;
  for (const [word, count] of one) shared += Math.min(count, other.get(word) ?? 0);
  return (2 * shared) / (sizeOne + sizeOther);
}

/** Pairs of equal words of a longest common subsequence. */
function common(one, other) {
  const pairs = [];
  let start = 0;
  let [n, m] = [one.length, other.length];
  while (start < n && start < m && one[start].text === other[start].text) {
    pairs.push([one[start], other[start]]);
    start += 1;
  }
  while (n > start && m > start && one[n - 1].text === other[m - 1].text) {
    pairs.push([one[n -= 1], other[m -= 1]]);
  }
  const [a, b] = [one.slice(start, n), other.slice(start, m)];
  return pairs.concat(a.length * b.length > MOST_CELLS ? sharedWords(a, b) : longest(a, b));
}

function longest(a, b) {
  const width = b.length + 1;
  const length = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      length[i * width + j] = a[i].text === b[j].text ? length[(i + 1) * width + j + 1] + 1
        : Math.max(length[(i + 1) * width + j], length[i * width + j + 1]);
    }
  }
  const pairs = [];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (a[i].text === b[j].text) pairs.push([a[i++], b[j++]]);
    else if (length[(i + 1) * width + j] >= length[i * width + j + 1]) i += 1;
    else j += 1;
  }
  return pairs;
}

/** For passages too long to align: words that stand in both, wherever. */
function sharedWords(a, b) {
  const places = new Map();
  for (const word of b) places.set(word.text, [...(places.get(word.text) ?? []), word]);
  return a.flatMap((word) => {
    const match = places.get(word.text)?.shift();
    return match ? [[word, match]] : [];
  });
}

/** Wraps runs of neighbouring words; the last of a node first, so that positions stay true. */
function mark(words, chosen) {
  const runs = [];
  for (const word of words) {
    if (!chosen.has(word)) {
      runs.push(null);
      continue;
    }
    const run = runs.at(-1);
    if (run && run.node === word.node) run.to = word.to;
    else runs.push({ ...word });
  }
  for (const run of runs.filter(Boolean).reverse()) {
    const wrapper = document.createElement("mark");
    wrapper.className = "pf-differs";
    if (run.node.nodeType !== Node.TEXT_NODE) {
      run.node.replaceWith(wrapper);
      wrapper.append(run.node);
      continue;
    }
    const range = document.createRange();
    range.setStart(run.node, run.from);
    range.setEnd(run.node, run.to);
    range.surroundContents(wrapper);
  }
}
