#!/bin/sh
# Makes the two calls of demo-stereo/: invented calls, spoken by the sandbox. Needs wavebatch and sox.
# The sandbox speaks each word as a code of tones, and reads the words back from it. So the demo shows the right words on
# the right side, without an account.
set -eu
cd "$(dirname "$0")"
out=$PWD/demo-stereo
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

speak() { # speak SIDE VOICE: reads lines `key|text`, writes the folder SIDE
    { echo 'key,text'; sed 's/^\([^|]*\)|\(.*\)$/\1,"\2"/'; } > "$1.csv"
    cat > "$1.toml" <<END
name = "$1"
task = "synthesize"
manifest = "$1.csv"
output = "{batch}/"

[synthesize]
model = "lightning_v3.1"
voice_id = "$2"
language = "en"
formats = [{ format = "wav", sample_rate = 8000 }]
END
    wavebatch run "$1.toml" --sandbox -q
}

speak agent avery <<'END'
r1|Northwind Broadband, this is Maya. How can I help you?
r2|I am sorry to hear that. Please unplug it for one minute and then plug it in again.
r3|I see. I will send a technician to you tomorrow at nine.
b1|Northwind billing, this is Maya speaking.
b2|One moment please, I will look at your account.
b3|You are right. The second payment goes back to your card today.
END
speak customer liam <<'END'
r1|My router has shown a red light since this morning.
r2|I have done that twice already.
r3|That is fine. Goodbye.
b1|I was charged twice for the month of July.
b2|That is good to hear. Goodbye.
END

side() { # side NAME LENGTH KEY:START ...: one side of a call, each line at its second
    side=$1 length=$2 parts=
    shift 2
    sox -D -n -r 8000 -c 1 -b 16 silence.wav trim 0 "$length"
    for said; do
        sox -D "sandbox-out/$side/${said%:*}.wav" "$side-${said%:*}.wav" pad "${said#*:}"
        parts="$parts -v 1 $side-${said%:*}.wav"
    done
    # The names of the parts have no spaces.
    sox -D -m -v 1 silence.wav $parts "$side.wav" trim 0 "$length"
}
call() { # call NAME: the agent on the left, the customer on the right
    sox -D -M agent.wav customer.wav -e mu-law "$out/$1.wav"
}

mkdir -p "$out"
# The customer interrupts.
side agent 21 r1:0.4 r2:8.5 r3:14.8
side customer 21 r1:4.5 r2:12 r3:19
call 2001-red-light
# The customer waits.
side agent 22.5 b1:0.4 b2:6.9 b3:15.5
side customer 22.5 b1:3.6 b2:20.2
call 2002-charged-twice
