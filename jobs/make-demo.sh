#!/bin/sh
# Makes the recordings of demo-calls.csv: invented calls, spoken by espeak-ng. Needs espeak-ng, sox and ffmpeg.
# The WAV files carry their words as the comment of their LIST/INFO chunk, which is what the sandbox "hears".
set -eu
cd "$(dirname "$0")/demo-calls"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

speak() { espeak-ng -v "$1" -s "$2" -w "$tmp/said.wav" "$3"; }
convert() { ffmpeg -v error -y -bitexact -i "$tmp/said.wav" "$@"; }
wav() { # wav FILE CODEC RATE TEXT
    convert -ar "$3" -ac 1 -c:a "$2" -metadata comment="$4" -flags +bitexact -fflags +bitexact "$1"
}

text="Thank you for calling Northwind Broadband. How can I help you today?"
speak en-us 165 "$text"; wav 1001-greeting.wav pcm_s16le 8000 "$text"

text="My router has shown a red light since this morning, and nothing I do brings it back. I have restarted it twice."
speak en-gb 160 "$text"; wav 1002-red-light.wav pcm_mulaw 8000 "$text"

text="Good afternoon, I would like to move my appointment from Tuesday to Thursday, if that is still possible. Any time after ten in the morning is fine. The order number is four seven one one."
speak en-us+f3 165 "$text"; wav 1003-appointment.wav pcm_mulaw 8000 "$text"

text="Could you spell the name for me, please? Yes. S, M, I, T, H. Thank you, I have found the account."
speak en-gb-x-rp 150 "$text"; wav 1004-spelling.wav pcm_alaw 8000 "$text"

speak en-us "165" "I was charged twice for the same month, and I would like the second payment back on my card, please."
convert -ar 16000 -ac 1 -b:a 24k 1005-refund.mp3

speak en-gb-scotland 150 "The parcel says delivered, but there is nothing at the door, and the neighbours have not seen it either. Could you ask the driver where he left it? I will be at home until five."
convert -ar 16000 -ac 1 -c:a libvorbis -q:a 1 1006-parcel.ogg

speak en-us+f4 170 "I am calling to cancel my subscription. No, I am not unhappy with it. I am moving abroad."
convert -ar 8000 -ac 1 -c:a flac 1007-cancel.flac

speak en-gb+f2 160 "Let me read that back to you. One large coffee machine, two packs of filters, and delivery on Friday between two and four in the afternoon. The total is eighty nine pounds. Shall I go ahead and place the order for you now? You will have an email within the next ten minutes."
convert -ar 16000 -ac 1 -c:a aac -b:a 24k 1008-order.m4a

speak en-us 165 "Please hold the line while I connect you to a colleague in the technical department."
convert -ar 16000 -ac 1 -c:a libopus -b:a 16k 1009-transfer.opus

# Two legs of one call: the agent on the left, the caller on the right.
speak en-us 165 "Is there anything else that I can do for you?"; sox "$tmp/said.wav" -r 8000 "$tmp/left.wav"
speak en-gb 160 "No, that was all. Thank you, and have a nice day."; sox "$tmp/said.wav" -r 8000 "$tmp/right.wav" pad 3
sox -M "$tmp/left.wav" "$tmp/right.wav" "$tmp/said.wav"
text="Is there anything else that I can do for you? No, that was all. Thank you, and have a nice day."
convert -c:a pcm_mulaw -metadata comment="$text" -flags +bitexact -fflags +bitexact 1010-goodbye-stereo.wav
