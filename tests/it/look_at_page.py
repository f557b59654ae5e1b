"""Opens a page from disk in headless Chromium, without a network, and fails where it complains or a picture is not drawn.

    python tests/it/look_at_page.py report.html

The page forbids scripts, so the browser is asked from outside: through its remote debugging pipe. Ends with 77 where there is no
Chromium.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


class Browser:
    """Chromium, spoken to over two pipes: messages of JSON, each ended by a zero byte."""

    def __init__(self, program: str, profile: str):
        to_browser, self.write_end = os.pipe()
        self.read_end, from_browser = os.pipe()

        def connect():
            # The browser reads from 3 and writes to 4. Copied above both first, so that none is closed before it is copied.
            low, high = os.dup2(to_browser, 30), os.dup2(from_browser, 31)
            os.dup2(low, 3)
            os.dup2(high, 4)

        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        offline = ["--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking", "--no-first-run"]
        self.process = subprocess.Popen([program, *options, *offline], preexec_fn=connect, close_fds=False, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.buffer, self.sent, self.events = b"", 0, []

    def receive(self) -> dict:
        """The next message."""
        while b"\0" not in self.buffer:
            more = os.read(self.read_end, 1 << 16)
            if not more:
                raise SystemExit("the browser ended")
            self.buffer += more
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method: str, session: str | None = None, **parameters) -> dict:
        """Asks, and keeps what happens meanwhile."""
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        os.write(self.write_end, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.sent:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def wait(self, method: str, **parameters):
        """Until that has happened, with these parameters among others."""
        def is_it(event: dict) -> bool:
            return event.get("method") == method and parameters.items() <= event["params"].items()

        while not any(is_it(event) for event in self.events):
            self.events.append(self.receive())

    def close(self):
        """Ends the browser and its children, which would else go on writing in its profile."""
        try:
            self.call("Browser.close")
            self.process.wait(timeout=30)
        except (OSError, SystemExit, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()


def main():
    """Looks at the page of the command line."""
    page = Path(sys.argv[1]).resolve()
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        sys.stderr.write("no Chromium to look at the page\n")
        sys.exit(77)
    # What a child of a browser that had to be killed still writes is no fault of the page.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, profile)
        try:
            target = browser.call("Target.createTarget", url="about:blank")["targetId"]
            session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Log", "Runtime", "Network"):
                browser.call(f"{domain}.enable", session)
            # The load of this page: that of the blank one may be told late.
            browser.call("Page.setLifecycleEventsEnabled", session, enabled=True)
            loader = browser.call("Page.navigate", session, url=page.as_uri())["loaderId"]
            browser.wait("Page.lifecycleEvent", loaderId=loader, name="load")
            # An isolated world of the browser's own, which the policy of the page does not bind.
            frame = browser.call("Page.getFrameTree", session)["frameTree"]["frame"]["id"]
            world = browser.call("Page.createIsolatedWorld", session, frameId=frame)["executionContextId"]
            # Pictures below the fold are lazy; `decode` loads them, and fails for those that cannot be drawn.
            look = """(async () => {
                const images = [...document.images];
                const drawn = await Promise.all(images.map(image => {
                    image.loading = 'eager';
                    return image.decode().then(() => image.naturalWidth > 0, () => false);
                }));
                return {
                    pictures: images.length,
                    broken: drawn.filter(is => !is).length,
                    tables: document.querySelectorAll('table').length,
                    text: document.body.innerText.length,
                };
            })()"""
            asked = browser.call("Runtime.evaluate", session, expression=look, contextId=world, returnByValue=True, awaitPromise=True)
            seen = asked["result"]["value"]
        finally:
            browser.close()
    complaints = [event["params"]["entry"]["text"] for event in browser.events if event.get("method") == "Log.entryAdded"]
    complaints += [str(event["params"]) for event in browser.events if event.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled")]
    urls = [event["params"]["request"]["url"] for event in browser.events if event.get("method") == "Network.requestWillBeSent"]
    complaints += [f"asked for {url}" for url in urls if not url.startswith(("file:", "data:"))]
    print(json.dumps(seen | {"complaints": complaints}))
    if complaints or seen["broken"] or not seen["tables"] or not seen["pictures"]:
        sys.exit(f"the page is not well: {seen}, {complaints}")


if __name__ == "__main__":
    main()
