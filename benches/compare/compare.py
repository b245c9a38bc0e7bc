"""The measuring: five questions, three tools, each question's pairs in turns on one sandbox. Standard library only."""

import argparse
import datetime
import json
import math
import os
import pathlib
import platform
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import wave

TOOLS = ["wavebatch", "parallel", "smallestai"]
NAMES = {"wavebatch": "wavebatch", "parallel": "GNU parallel + curl", "smallestai": "smallestai (Python)"}
IN_FLIGHT = 20


class Sandbox:
    """`wavebatch sandbox` in a process of its own."""

    def __init__(self, binary, *flags):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [binary, "sandbox", "--listen", f"127.0.0.1:{port}", *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            try:
                return self.books() and None
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def books(self):
        with urllib.request.urlopen(f"{self.url}/sandbox/books", timeout=30) as answer:
            return json.load(answer)

    def reset(self):
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/sandbox/reset", method="POST"), timeout=30).read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def recordings(folder, count, seconds, alike):
    """Distinct ones, so that the sandbox's books tell how often each was billed. Unless they are to be alike, each is a
    millisecond longer than the one before: real calls differ in length, and the vendor's log tells them apart by it."""
    folder.mkdir(parents=True)
    for number in range(count):
        tone = [int(3000 * math.sin(n * (number % 97 + 20) / 400)) for n in range(400)]
        with wave.open(str(folder / f"{number:05}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            frames = struct.pack("<i400h", number, *tone)
            size = seconds * 16_000 + (0 if alike else number * 16)
            file.writeframes((frames * (size // len(frames) + 1))[:size])


def command(tool, options, folder, work):
    if tool == "wavebatch":
        (work / "limits.toml").write_text("[limits.pulse]\nrequests_per_minute = 0\nconcurrency = 0\n")
        flags = ["--task", "transcribe", "--model", "pulse", "--language", "en", "--formats", "json"]
        flags += ["--concurrency", str(IN_FLIGHT), "--config", "limits.toml", "--output", "out", "-q"]
        return [options.wavebatch, "run", *flags, str(folder)]
    if tool == "smallestai":
        return [options.python, str(pathlib.Path(__file__).with_name("vendor.py")), str(folder), "out", str(IN_FLIGHT)]
    # As many tries as the vendor's client makes; without --fail an error's body would pass for a transcript.
    (work / "out").mkdir(exist_ok=True)
    curl = (
        'curl --silent --show-error --fail --retry 2 -X POST -H "Authorization: Bearer $SMALLEST_API_KEY" '
        "-H Content-Type:audio/wav --data-binary @{} -o out/{/.}.json "
        '"$SMALLEST_BASE_URL/waves/v1/stt/?model=pulse&language=en"'
    )
    listed = work / "list"
    listed.write_text("".join(f"{path}\n" for path in sorted(folder.glob("*.wav"))))
    return ["parallel", "--will-cite", "-j", str(IN_FLIGHT), "--joblog", "jobs.log", "--resume", "-a", str(listed), curl]


class Memory(threading.Thread):
    """The most that all processes of a group hold at once: the sum of their proportional set sizes."""

    def __init__(self, group):
        super().__init__(daemon=True)
        self.group, self.most, self.done = group, 0, threading.Event()

    def run(self):
        while not self.done.wait(0.1):
            total = 0
            for entry in os.scandir("/proc"):
                if not entry.name.isdigit():
                    continue
                try:
                    with open(f"/proc/{entry.name}/stat") as stat:
                        if int(stat.read().rpartition(")")[2].split()[2]) != self.group:
                            continue
                    with open(f"/proc/{entry.name}/smaps_rollup") as smaps:
                        total += next(int(line.split()[1]) for line in smaps if line.startswith("Pss:"))
                except (OSError, StopIteration, ValueError, IndexError):
                    continue
            self.most = max(self.most, total)


def start(tool, options, sandbox, folder, work):
    environment = dict(
        os.environ,
        SMALLEST_API_KEY="sk_bench",
        SMALLEST_BASE_URL=sandbox.url,
        SMALLESTAI_TELEMETRY="0",
        NO_PROXY="127.0.0.1",
        no_proxy="127.0.0.1",
    )
    output = open(work / "said", "ab")
    return subprocess.Popen(
        command(tool, options, folder, work),
        cwd=work,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def run(tool, options, sandbox, folder, work):
    """To its end: seconds, CPU seconds of it and its children, KB held at most, exit status."""
    before = time.monotonic()
    process = start(tool, options, sandbox, folder, work)
    memory = Memory(process.pid)
    memory.start()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - before
    process.returncode = os.waitstatus_to_exitcode(status)
    memory.done.set()
    memory.join()
    return {
        "seconds": seconds,
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory": memory.most,
        "status": process.returncode,
    }


def transcribed(work):
    """Outputs that are whole."""
    good = 0
    for path in (work / "out").rglob("*.json"):
        try:
            good += "transcription" in json.loads(path.read_bytes())
        except ValueError:
            pass
    return good


def measured(tool, options, sandbox, folder, scratch):
    work = pathlib.Path(tempfile.mkdtemp(dir=scratch))
    sandbox.reset()
    found = run(tool, options, sandbox, folder, work)
    books = sandbox.books()
    found |= {
        "good": transcribed(work),
        "billed": books["billed"],
        "refused": books["statuses"].get("429", 0),
        "peak": books["peak_in_flight"],
    }
    return found


def killed(tool, options, sandbox, folder, scratch):
    """Everything of it is killed once half of the files were billed; then the same command again."""
    files = len(list(folder.glob("*.wav")))
    work = pathlib.Path(tempfile.mkdtemp(dir=scratch))
    sandbox.reset()
    process = start(tool, options, sandbox, folder, work)
    while sandbox.books()["billed"] < files // 2 and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.5)
    found = run(tool, options, sandbox, folder, work)
    books = sandbox.books()
    found |= {"good": transcribed(work), "extra": books["billed"] - files}
    found["twice"] = sum(1 for content in books["contents"].values() if content["billed"] > 1)
    return found


def rounds(options, measure, *arguments):
    """Tools in turns, each round beginning with another; the median of each figure."""
    all_of = {tool: [] for tool in options.tools}
    for number in range(options.runs):
        turn = number % len(options.tools)
        for tool in options.tools[turn:] + options.tools[:turn]:
            all_of[tool].append(measure(tool, options, *arguments))
            print(f"  {tool}: {all_of[tool][-1]}", file=sys.stderr)
    median = {}
    for tool, found in all_of.items():
        median[tool] = {name: statistics.median(one[name] for one in found) for name in found[0]}
        median[tool]["spread"] = [min(one["seconds"] for one in found), max(one["seconds"] for one in found)]
        # Of pairs measured in one round: how many times as long the other took.
        pairs = zip(found, all_of["wavebatch"])
        median[tool]["ratio"] = statistics.median(one["seconds"] / ours["seconds"] for one, ours in pairs)
    return median


def table(title, median, columns):
    print(f"\n### {title}\n")
    print("| tool | " + " | ".join(name for name, _ in columns) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for tool, found in median.items():
        print(f"| {NAMES[tool]} | " + " | ".join(show(found) for _, show in columns) + " |")


def speed(files):
    return [
        ("seconds", lambda f: f"{f['seconds']:.2f}"),
        ("least to most", lambda f: f"{f['spread'][0]:.2f}–{f['spread'][1]:.2f}"),
        ("time, wavebatch = 1", lambda f: f"{f['ratio']:.2f}"),
        ("CPU s per 1,000 files", lambda f: f"{f['cpu'] * 1000 / files:.2f}"),
        ("peak memory, MB", lambda f: f"{f['memory'] / 1024:.0f}"),
        ("transcribed", lambda f: f"{f['good']:.0f}"),
        ("billed", lambda f: f"{f['billed']:.0f}"),
    ]


def first_line(*words):
    return subprocess.run(words, capture_output=True, text=True).stdout.splitlines()[0]


def machine(options):
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "?")
    memory = next(int(l.split()[1]) for l in open("/proc/meminfo") if l.startswith("MemTotal")) / 2**20
    print(f"- {datetime.date.today()}; {os.cpu_count()} cores ({cpu}), {memory:.0f} GB, Linux {platform.release()}")
    print(f"- {first_line(options.wavebatch, '--version')}; {first_line('parallel', '--version')}; {first_line('curl', '--version').split(' (')[0]}")
    pip = subprocess.run([options.python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True).stdout
    packages = [l.replace("==", " ") for l in pip.splitlines() if l.split("==")[0] in ("smallestai", "httpx")]
    print(f"- Python {platform.python_version()}, {', '.join(sorted(packages))}")
    print(f"- load average before the first run: {os.getloadavg()[0]:.1f}; medians of {options.runs}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wavebatch", required=True)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=2, help="length of a recording; 16 KB each")
    parser.add_argument("--tools", type=lambda text: text.split(","), default=TOOLS)
    parser.add_argument("--only", type=lambda text: text.split(","), default=["paced", "fast", "killed", "alike", "over"])
    parser.add_argument("--scratch", help="where files and outputs are made; default: the system's place")
    options = parser.parse_args()
    options.wavebatch = str(pathlib.Path(options.wavebatch).resolve())
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="wavebatch-compare-", dir=options.scratch))
    try:
        folder, files = scratch / "recordings", options.files
        recordings(folder, files, options.seconds, alike=False)
        machine(options)
        if "paced" in options.only:
            with Sandbox(options.wavebatch, "--latency", "50ms") as sandbox:
                median = rounds(options, measured, sandbox, folder, scratch)
            table(f"{files:,} files, 50 ms a call, {IN_FLIGHT} in flight", median, speed(files))
        if "fast" in options.only:
            with Sandbox(options.wavebatch) as sandbox:
                median = rounds(options, measured, sandbox, folder, scratch)
            table(f"{files:,} files, no delay, {IN_FLIGHT} in flight", median, speed(files))
        columns = [
            ("calls paid beyond one a file", lambda f: f"{f['extra']:.0f}"),
            ("files paid twice", lambda f: f"{f['twice']:.0f}"),
            ("transcribed", lambda f: f"{f['good']:.0f}"),
            ("seconds of the second run", lambda f: f"{f['seconds']:.1f}"),
        ]
        for name, place in [("killed", folder), ("alike", scratch / "alike")]:
            if name not in options.only:
                continue
            if name == "alike":
                recordings(place, files, options.seconds, alike=True)
            with Sandbox(options.wavebatch, "--latency", "50ms") as sandbox:
                median = rounds(options, killed, sandbox, place, scratch)
            what = "" if name == "killed" else ", all of one length,"
            table(f"`kill -9` when half of {files:,} files{what} were billed, and the same command again", median, columns)
        if "over" in options.only:
            with Sandbox(options.wavebatch, "--latency", "50ms", "--concurrency", str(IN_FLIGHT // 2)) as sandbox:
                median = rounds(options, measured, sandbox, folder, scratch)
            columns = [
                ("files failed", lambda f: f"{files - f['good']:.0f}"),
                ("429s", lambda f: f"{f['refused']:.0f}"),
                ("seconds", lambda f: f"{f['seconds']:.1f}"),
                ("time, wavebatch = 1", lambda f: f"{f['ratio']:.2f}"),
                ("exit status", lambda f: f"{f['status']:.0f}"),
            ]
            table(f"{files:,} files, {IN_FLIGHT} in flight where the server allows {IN_FLIGHT // 2}, 50 ms a call", median, columns)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


main()
