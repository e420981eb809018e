#!/bin/sh
# Sees to it that a Chromium is there for the browser tests: one that is installed already, else
# Playwright's own, else the system's package. Usage: tests/install_browser.sh PYTHON
set -u
python=${1:-python3}

installed() {
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        command -v "$name" >/dev/null 2>&1 && return 0
    done
    "$python" - 2>/dev/null <<'END'
import os
import sys

from playwright.sync_api import sync_playwright

with sync_playwright() as playwright:
    sys.exit(not os.access(playwright.chromium.executable_path, os.X_OK))
END
}

installed && exit 0
echo "no Chromium found: installing Playwright's own" >&2
"$python" -m playwright install chromium >/dev/null 2>&1
installed && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "that did not work: installing the system's package" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends chromium >/dev/null
    installed && exit 0
fi
echo "The browser tests need Chromium and none could be installed. Install chromium or Google" >&2
echo "Chrome with your system's package manager, then run this again." >&2
exit 1
