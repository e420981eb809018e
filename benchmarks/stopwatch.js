// Times, inside the page, what the press of a key brings about: from the event's own time stamp to
// the frame in which two answers stand there that did not before, and in which the page says that
// the answer is saved. The page under test is told by `answers` and `saved`, two functions.
(({ answers, saved }) => {
  const watch = window.stopwatch = { pressed: null, shown: null, saved: null, texts: [] };
  watch.arm = () => { watch.result = new Promise((resolve) => { watch.tell = resolve; }); };
  let before = [];

  // A frame is on its way to the screen when a task runs that was posted from its animation frame.
  const painted = (then) => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => then(performance.now());
    channel.port2.postMessage(null);
  });
  const note = (what) => {
    watch[what] = 0;
    painted((at) => {
      watch[what] = at - watch.pressed;
      if (watch.shown && watch.saved) watch.tell({ ...watch });
    });
  };
  const look = () => {
    if (watch.pressed === null) return;
    if (watch.shown === null) {
      const texts = answers();
      if (texts.length === 2 && texts.every((text) => text && !before.includes(text))) {
        watch.texts = texts;
        note("shown");
      }
    }
    if (watch.saved === null && saved()) note("saved");
  };

  addEventListener("keydown", (event) => {
    before = answers();
    Object.assign(watch, { pressed: event.timeStamp, shown: null, saved: null });
  }, { capture: true });
  new MutationObserver(look).observe(document.body,
    { childList: true, subtree: true, characterData: true });
})
