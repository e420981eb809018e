// To another of the app's pages. What the desk sends once that page is asked for brings Streamlit
// back to the desk's: the other is drawn, and then empty. Whoever goes there while the connection is
// lost finds it empty, too: Streamlit does not ask for it again once it is connected.

const GOING_MS = 30_000; // still here after so long: the click was lost
const LOOK_MS = 500;
const LOOKS = 4; // empty, or not, for so long: it stays so

export class Leaving {
  constructor() {
    this.wentAt = -Infinity;
  }

  /** A click, maybe on a link to another page in this tab. */
  heard(event) {
    const link = event.target.closest?.("a[href]");
    const modified = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
    if (link && !modified && link.target !== "_blank" && link.origin === location.origin
      && link.pathname !== location.pathname) this.went();
  }

  went() {
    this.wentAt = performance.now();
  }

  /** The labeler does something here: they are not gone. */
  stays() {
    this.wentAt = -Infinity;
  }

  /** Whether another page is on its way; where the connection is lost, it was lost with it. */
  isUnderWay() {
    if (!isConnected()) this.stays();
    return performance.now() - this.wentAt < GOING_MS;
  }
}

const theApp = () => document.querySelector("[data-testid=stApp]");
const isConnected = () => theApp()?.dataset.testConnectionState === "CONNECTED";

/** Watch the page that comes after the desk until it stands, and load it where it stays empty. */
export function lookAfterNextPage() {
  let stands = 0;
  let empty = 0;
  const timer = setInterval(() => {
    const app = theApp();
    const over = isConnected() && app.dataset.testScriptState !== "running";
    const drawn = app?.querySelector("[data-testid=stMain] [data-testid=stElementContainer]");
    stands = over && drawn ? stands + 1 : 0;
    empty = over && !drawn ? empty + 1 : 0;
    if (app && stands < LOOKS && empty < LOOKS) return;
    clearInterval(timer);
    if (empty >= LOOKS) location.reload();
  }, LOOK_MS);
}
