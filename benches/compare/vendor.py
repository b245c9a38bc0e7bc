"""What a user of the vendor's own client writes: its asynchronous client, a semaphore, and files that are there are
left out. `vendor.py FOLDER OUT IN_FLIGHT`; SMALLEST_BASE_URL and SMALLEST_API_KEY say where and as whom."""

import asyncio
import os
import pathlib
import sys

from smallestai import AsyncSmallestAI, SmallestAIEnvironment


async def main():
    folder, out, in_flight = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
    base = os.environ["SMALLEST_BASE_URL"]
    place = SmallestAIEnvironment(atoms=base, waves=base, waves_ws=base, payment=base)
    client = AsyncSmallestAI(environment=place, api_key=os.environ["SMALLEST_API_KEY"])
    semaphore = asyncio.Semaphore(in_flight)
    out.mkdir(exist_ok=True)
    failed = 0

    async def one(path):
        nonlocal failed
        target = out / f"{path.stem}.json"
        if target.exists():
            return
        async with semaphore:
            try:
                answer = await client.waves.speech_to_text.transcribe(
                    model="pulse", language="en", request=path.read_bytes()
                )
            except Exception as error:
                failed += 1
                print(f"{path.name}: {type(error).__name__}", file=sys.stderr)
                return
        target.write_text(answer.model_dump_json())

    await asyncio.gather(*(one(path) for path in sorted(folder.glob("*.wav"))))
    sys.exit(1 if failed else 0)


asyncio.run(main())
