//! The page of notifications.

use super::markdown::{code, json_type, list, table};
use crate::{
    domain::{listed::Listed, notice::NoticeEvent},
    server::{NOTICE_FIELDS, NOTICE_SECRETS, NOTIFICATION, News, SIGNATURE, TIMESTAMP},
};

const TEXT: &str = "# Notifications
`run`, `work` and `serve` tell a URL or a command how batches go. `[notify]` in a [definition](definition.md#notify) or in the
[settings](settings.md#notify) names whom. This page lists the events and what a notification contains.

`wavebatch notify test [DEFINITION]` sends one and says whether it arrived.

## Events
Each event is told once, however many processes see it. An interrupted run, and a pause by `wavebatch pause`, tell nothing.

";

const EXAMPLE: &str = r#"
## Content
The content is a JSON object. Later versions may add fields.

```json
{
  "id": "019ab2c4-7d1e-7c3a-9b0e-5f2d8a6c1e47",
  "text": "wavebatch: nightly-calls-2026-11-20 is finished: 9,990 succeeded, 10 failed; about $212.400000",
  "event": "finished",
  "at": "2026-11-21T01:12:44.120Z",
  "batch": "nightly-calls-2026-11-20",
  "definition": "nightly-calls",
  "state": "finished",
  "reason": null,
  "lines": { "succeeded": 9990, "failed": 10 },
  "lines_left": 0,
  "spend_usd": 212.4,
  "report": "s3://acme-bi/calls/nightly-calls-2026-11-20.csv",
  "summary": "s3://acme-transcripts/2026/11/20/summary.json",
  "sandbox": false
}
```

"#;

const URL: &str = "
## A URL
The content is posted to `url`. Any 2xx within 10 s is a success. Redirects are not followed. These headers come with it:

";

const SIGNING: &str = "
The signature is the HMAC-SHA256 of `{timestamp}.{body}` in hexadecimal digits. Its key are the 32 bytes that the 64 digits of
`WAVEBATCH_NOTIFY_SECRET` write, or those that `wavebatch secrets show notify` prints. Refuse what is older than five
minutes. In a shell, with body and timestamp at hand:

```sh,norun
printf '%s.%s' \"$timestamp\" \"$body\" | openssl dgst -sha256 -mac HMAC -macopt hexkey:$(wavebatch secrets show notify)
```

## A command
The `command` is run by `sh -c`, in the directory of the file that names it, with the content on its stdin. After 60 s it is
killed with all that it started. The last line of its stderr is what wavebatch says of a failure. Its environment has these variables:

";

const REST: &str = "
## Failures
A notification that fails is tried again after 10 s, then twice as long each time up to 15 min, and given up after a day. Those of
one batch are sent in order. `run` and `work` try for 15 s at their end and leave the rest to whoever comes next. A failure is a
warning: it changes neither a batch nor an exit status.

With `--sandbox` no command is run, and only a URL of this machine is posted to, with `\"sandbox\": true`.
";

pub(super) fn page() -> String {
    let id = [
        code("id"),
        "a text".to_owned(),
        "The notification's own id. One that you have already seen is a repeat.".to_owned(),
    ];
    let fields = News::DOCUMENTED.iter();
    let fields = fields.map(|field| [code(field.name), json_type(field).to_owned(), field.meaning().to_owned()]);
    let headers = [
        (NOTIFICATION, "The `id`."),
        (TIMESTAMP, "The time of the signature, in seconds since 1970."),
        (SIGNATURE, "`v1=` and the signature."),
    ];
    let headers = headers.map(|(name, meaning)| [code(name), meaning.to_owned()]);
    let variables = NOTICE_FIELDS.iter().map(|field| {
        [
            code(&format!("WAVEBATCH_{}", field.to_ascii_uppercase())),
            format!("`{field}` of the content; empty for null"),
        ]
    });
    let secrets: Vec<String> = NOTICE_SECRETS.iter().map(|name| code(name)).collect();
    [
        TEXT,
        &list("`event`", &NoticeEvent::LIST),
        EXAMPLE,
        &table(["field", "value", "meaning"], [id].into_iter().chain(fields)),
        URL,
        &table(["header", "meaning"], headers),
        SIGNING,
        &table(["variable", "meaning"], variables),
        &format!("\nThe rest of the environment stays, without {} and `WAVEBATCH_…_SECRET`.\n", secrets.join(", ")),
        REST,
    ]
    .concat()
}
