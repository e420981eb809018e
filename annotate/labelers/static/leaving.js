// Whoever goes to another page while the connection is lost finds it empty: Streamlit does not ask
// for that page again once it is connected. So the page left behind looks after it, and loads it.

const LOOK_MS = 500;
const LOOKS = 4; // empty for so long: it is not just being drawn

/** Watch the page that comes after the desk, until something stands on it. */
export function lookAfterNextPage() {
  let empty = 0;
  const timer = setInterval(() => {
    const app = document.querySelector("[data-testid=stApp]");
    if (!app || app.querySelector("[data-testid=stMain] [data-testid=stElementContainer]")) {
      clearInterval(timer);
      return;
    }
    const { testConnectionState, testScriptState } = app.dataset;
    const over = testConnectionState === "CONNECTED" && testScriptState !== "running";
    empty = over ? empty + 1 : 0;
    if (empty < LOOKS) return;
    clearInterval(timer);
    location.reload();
  }, LOOK_MS);
}
