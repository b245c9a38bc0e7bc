use std::{fs, path::Path};

use super::*;
use crate::definition::{Definition, Overrides};

const SCHEMA: &str = r#"{"type": "object", "properties": {"resolved": {"type": "boolean", "description": "Solved?"},
    "evidence": {"type": "array", "items": {"type": "string"}, "description": "Quotes."}}}"#;

fn load(fields: &str) -> Result<Definition, Faults> {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    fs::create_dir(dir.path().join("prompts")).unwrap();
    write("calls.csv", "key,agent,transcript\nc1,ann,Hello there.\n");
    write("card.schema.json", SCHEMA);
    write("list.schema.json", r#"{"type": "array"}"#);
    write("broken.json", "{\n\"type\": }");
    write("objekt.json", r#"{"properties": {"a": {"type": "objekt"}}}"#);
    write("prompts/rules.md", "Be fair, like {\"resolved\": true}.\r\n\n");
    write("empty.md", "\n");
    write(
        "examples.jsonl",
        "{\"user\": \"a\", \"assistant\": {\"resolved\": true}}\n\n{\"user\": \"b\", \"assistant\": \"c\"}\n",
    );
    write("bad.jsonl", "{\"user\": \"a\"}\n{\"user\": 1, \"assistant\": \"c\"}\n");
    write("a.toml", &format!("task = \"chat\"\nmanifest = \"calls.csv\"\n{fields}"));
    let over = Overrides { working_dir: Some(dir.path().to_path_buf()), ..Overrides::default() };
    Definition::load(Path::new("a.toml"), crate::tasks::Registry::built_in().definitions(), &over)
}

fn faults(fields: &str) -> String {
    load(&format!("[chat]\nmodel = \"electron\"\n{fields}")).unwrap_err().to_string()
}

fn chatting(fields: &str) -> Chatting {
    let loaded = load(&format!("[chat]\nmodel = \"electron\"\n{fields}"));
    loaded.unwrap_or_else(|faults| panic!("{faults}")).asks::<Chatting>().unwrap().clone()
}

#[test]
fn the_whole_example_is_read() {
    let read = chatting(
        "system = \"prompts/rules.md\"\nprompt = \"Score {transcript}\"\nschema = \"card.schema.json\"\n\
         examples = \"examples.jsonl\"\ntemperature = 0\ntop_p = 0.5\nmax_tokens = 400\nseed = -7\nstop = [\"END\"]\n\
         repairs = 2\ngrounded = [\"evidence\"]\ngrounded_in = \"{transcript}\"\n[extra.body]\nuser = \"me\"\n",
    );
    let asked = &read.asked;
    let system = asked.system.as_deref().unwrap();
    assert!(system.starts_with("Be fair, like {\"resolved\": true}.\n\nReply with one JSON object"), "{system}");
    assert!(system.ends_with('}') && read.system.is_none());
    let options = &asked.options;
    assert_eq!(
        (options.temperature, options.top_p, options.max_tokens, options.seed),
        (Some(0.0), Some(0.5), Some(400), Some(-7))
    );
    assert_eq!((options.stop.len(), options.extra.body.len(), asked.repairs), (1, 1, 2));
    assert_eq!(asked.examples[0].assistant, "{\"resolved\":true}", "an object is its JSON");
    assert_eq!((asked.grounded.as_slice(), asked.examples.len()), (&["evidence".to_owned()][..], 2));
}

#[test]
fn little_is_needed_and_the_rest_has_defaults() {
    let read = chatting("");
    assert_eq!((read.asked.repairs, read.asked.system.is_none(), read.prompt.is_none()), (1, true, true));
    let with_schema =
        chatting("system = \"First. {schema} Last.\"\nschema = \"card.schema.json\"\n").asked.system.unwrap();
    assert!(with_schema.starts_with("First. {\"type\"") && with_schema.ends_with("} Last."), "{with_schema}");
    let own = chatting("system = \"For {agent}.\"\nschema = \"card.schema.json\"\n");
    assert!(own.asked.system.is_none() && own.system.is_some(), "each line has its own");
    assert_eq!(chatting("").notes().len(), 1, "max_tokens is not set");
}

#[test]
fn all_that_is_wrong_is_told_at_its_place() {
    let message = faults(
        "system = \"gone.md\"\nprompt = \"empty.md\"\nschema = \"list.schema.json\"\nexamples = \"bad.jsonl\"\n\
         temperature = 3\ntop_p = \"x\"\nmax_tokens = 0\nstop = [\"a\", \"b\", \"c\", \"d\", \"e\"]\nrepairs = 9\n\
         grounded = [\"a..b\"]\nsytem = \"x\"\n[extra.body]\nn = 2\nmessages = []\n",
    );
    for wanted in [
        "a.toml:5:10: `chat.system`: `gone.md`: there is no such file",
        "a.toml:6:10: `chat.prompt`: `empty.md`: is empty",
        "a.toml:7:10: `chat.schema`: `list.schema.json`: is no schema of an object with properties",
        "a.toml:8:12: `chat.examples`: `bad.jsonl`:1: must be like",
        "`bad.jsonl`:2: must be like",
        "a.toml:9:15: `chat.temperature`: 3 is not between 0 and 2",
        "a.toml:10:9: `chat.top_p`: must be a number, not a string",
        "a.toml:11:14: `chat.max_tokens`: 0 is not between 1 and",
        "a.toml:12:8: `chat.stop`: has 5, and the API takes 4 at most",
        "a.toml:13:11: `chat.repairs`: 9 is not between 0 and 5",
        "`chat.grounded`: `a..b` is no place in a reply",
        "`chat.sytem`: there is no such field; did you mean `system`?",
        "`extra.body.n`: the API refuses it",
        "`extra.body.messages`: `messages` cannot be an extra: wavebatch sets `messages` itself",
    ] {
        assert!(message.contains(wanted), "{wanted}\n{message}");
    }
}

#[test]
fn schemas_and_quotes_are_checked_before_anything_is_sent() {
    assert!(faults("schema = \"broken.json\"\n").contains("`broken.json`:2: is no JSON: expected value"));
    assert!(faults("schema = \"objekt.json\"\n").contains("`objekt.json`: is no JSON Schema: `/properties/a/type`"));
    assert!(faults("grounded = [\"evidence\"]\n").contains("needs a `schema`"));
    let message = faults("schema = \"card.schema.json\"\ngrounded = [\"evidense\"]\n");
    assert!(message.contains("the schema has no `evidense`; it has `resolved`, `evidence`"), "{message}");
    let message = faults("schema = \"card.schema.json\"\ngrounded_in = \"{transcript}\"\n");
    assert!(message.contains("`chat.grounded_in`: is of no use without `grounded`"), "{message}");
}
