//! The page of the sandbox.

use std::fmt::Write;

use super::{
    command_line::flags_of,
    markdown::{code, json_type, list, table},
};
use crate::{
    domain::{documented::Documented, listed::Listed},
    sandbox::{ChatMarker, ErrorShape, Match, SpeechFlaw, StatusFault, WHAT_THIS_IS, What},
};

const TEXT: &str = "# Sandbox
The sandbox is a local stand-in for the API: no account, no key, no cost. `--sandbox` runs a batch against it inside the process, and
`wavebatch sandbox` serves it to any client of the API. This page lists what it does, its flags and the faults that it can make.

- With `--sandbox`, the ledger is `wavebatch-sandbox.db` and outputs go to `sandbox-out/{batch}/`. Nothing of it mixes with the real
  API. `status`, `jobs`, `report` and the other verbs find it with `--sandbox`, too.
- **Transcription**: it knows the text of a WAV whose `LIST/INFO` chunk has a comment (`ICMT`), and hears the words of its own
  voices, with their times. It invents the words of all other recordings, the same for the same recording.
- **Speech**: its voices speak in tones, as long as speech would be, the same for the same text. Each word is a burst of tones that
  carries the word, so that the speech can be transcribed back. At 8,000 Hz MP3 carries few words.
- **Chat**: its replies are the same for the same request. Where a message has a JSON Schema and JSON is asked for, the reply fits the
  schema, and quotes what the last prompt says. The beginnings of answered requests are cached in blocks of 128 tokens; four bytes are
  a token. [Markers](#markers-of-a-chat) in a prompt make other replies.
- **Analyses of calls**: values fit the types that are asked for, and reasonings quote the transcript. The markers `wrong-type`,
  `invented-quote`, `empty`, `429`, `500` and `lost` in a transcript do what they do in a chat.
- **Clones** of voices are pending for half a second, and ready after a second. They speak as the other voices do. Whoever asks for
  their removal gets 410, as from the vendor.
- **Callbacks**: calls with a `webhook_url` are posted to it, up to ten times.
- **Dictionaries** of pronunciations are kept until it ends.

## Flags of `wavebatch sandbox`

";

const FAULTS: &str = "
## Faults
`POST /sandbox/faults` takes one fault or a list of them. The first fault that matches a call counts.

```json
{ \"matches\": { \"nth\": 3 }, \"times\": 1, \"what\": { \"status\": { \"code\": 500 } } }
```

| field | meaning |
| --- | --- |
| `matches` | The calls that the fault befalls. Default: every call. |
| `times` | After this number of calls the fault is used up. Default: never. |
| `what` | What happens to the call. |

A value without content is a text (`\"hang\"`), any other an object with one field (`{ \"delay\": 500 }`).
";

pub(super) fn page() -> String {
    let mut text = format!("{TEXT}{}\n## Addresses\n\n```text\n{}```\n{FAULTS}", flags_of("sandbox"), WHAT_THIS_IS);
    for (title, about, rows) in [
        ("`matches`", "Calls are counted from 1 in the order of their arrival.", Match::DOCUMENTED),
        ("`what`", "\"Billed\" faults come after the work: the call is in the books and in the log.", What::DOCUMENTED),
        ("`bad_speech`", "What is wrong with the speech.", SpeechFlaw::DOCUMENTED),
        ("`shape`", "The documented shapes of an error's body, for a `status`.", ErrorShape::DOCUMENTED),
    ] {
        write!(text, "\n### {title}\n{about}\n\n").expect("a String takes everything");
        text.push_str(&table(["value", "content", "meaning"], rows.iter().map(variant)));
    }
    text.push_str("\n### `status`\nAn answer with a status of its own.\n\n");
    let fields = StatusFault::DOCUMENTED.iter();
    text.push_str(&table(["field", "meaning"], fields.map(|field| [code(field.name), field.meaning().to_owned()])));
    text.push_str("\n## Markers of a chat\nA marker stands in any message: `[[prose]]`.\n\n");
    text.push_str(&list("marker", &ChatMarker::LIST));
    text
}

fn variant(row: &Documented) -> [String; 3] {
    let content = match row.takes {
        "" => "none".to_owned(),
        "SpeechFlaw" => "one of [bad_speech](#bad_speech)".to_owned(),
        "StatusFault" => "the fields of [status](#status)".to_owned(),
        _ => json_type(row).to_owned(),
    };
    [code(&row.snake_case()), content, row.meaning().to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_faults_are_those_that_the_sandbox_takes() {
        fn takes<T: serde::de::DeserializeOwned>(rows: &[Documented]) {
            for row in rows {
                let name = row.snake_case();
                let read = match row.takes {
                    "" => serde_json::from_str::<T>(&format!("\"{name}\"")),
                    _ => serde_json::from_str(&format!("{{\"{name}\": null}}")),
                };
                // With the wrong content, too, the name is not what is wrong.
                let fault = read.err().map(|e| e.to_string()).unwrap_or_default();
                assert!(!fault.contains("unknown variant"), "{name}: {fault}");
            }
        }
        takes::<Match>(Match::DOCUMENTED);
        takes::<What>(What::DOCUMENTED);
        takes::<SpeechFlaw>(SpeechFlaw::DOCUMENTED);
        takes::<ErrorShape>(ErrorShape::DOCUMENTED);
    }
}
